from django.urls import path

from sensors.views import plant, quarantine

app_name = "sensors"
urlpatterns = [
    path("", plant.overview, name="overview"),
    path("assets/", plant.assets, name="assets"),
    path("assets/<int:pk>/", plant.asset, name="asset"),
    path("sensors/<int:pk>/readings/", plant.readings, name="readings"),
    path("sensors/<int:pk>/series.json", plant.series, name="series"),
    path("quarantine/", quarantine.causes, name="quarantine"),
    path("quarantine/rows/", quarantine.group, name="quarantine-group"),
    path("quarantine/<int:pk>/", quarantine.row, name="quarantined"),
    path("quarantine/<int:pk>/discard/", quarantine.discard, name="discard-quarantined"),
]

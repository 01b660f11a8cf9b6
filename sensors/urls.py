from django.urls import path

from sensors import views
from sensors.imports import views as imports

app_name = "sensors"
urlpatterns = [
    path("", views.overview, name="overview"),
    path("assets/", views.assets, name="assets"),
    path("assets/<int:pk>/", views.asset, name="asset"),
    path("sensors/<int:pk>/readings/", views.readings, name="readings"),
    path("sensors/<int:pk>/series.json", views.series, name="series"),
    path("imports/", imports.index, name="imports"),
    path("imports/<int:pk>/", imports.show, name="import"),
    path("imports/<int:pk>/start/", imports.start, name="import-start"),
    path("imports/<int:pk>/cancel/", imports.cancel, name="import-cancel"),
]

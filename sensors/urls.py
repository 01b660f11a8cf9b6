from django.urls import path

from sensors import views

app_name = "sensors"
urlpatterns = [
    path("", views.overview, name="overview"),
    path("assets/", views.assets, name="assets"),
    path("assets/<int:pk>/", views.asset, name="asset"),
    path("sensors/health/", views.health, name="health"),
    path("sensors/<int:pk>/readings/", views.readings, name="readings"),
    path("sensors/<int:pk>/series.json", views.series, name="series"),
]

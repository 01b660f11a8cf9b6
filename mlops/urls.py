from django.urls import path

from mlops import health_views, repair_views, views
from mlops.prediction.views import predict

app_name = "mlops"
urlpatterns = [
    path("validation/", views.validation, name="validation"),
    path("", views.models, name="models"),
    path("predict/", predict, name="predict"),
    path("train/", views.train, name="train"),
    path("training/", views.training, name="training"),
    path("versions/<int:pk>/", views.version, name="version"),
    path("versions/<int:pk>/deploy/", views.deploy, name="deploy"),
    path("<int:pk>/evict/", views.evict, name="evict"),
    path("<int:pk>/withdraw/", views.withdraw, name="withdraw"),
    path("mlflow/", views.mlflow, name="mlflow"),
    path("mlflow/<path:path>", views.mlflow, name="mlflow-path"),
    path("repairs/<int:pk>/", repair_views.of_order, name="repair"),
    path("health/", health_views.of_fleet, name="fleet-health"),
    path("assets/<int:pk>/health/", health_views.of_asset, name="health"),
    path("assets/<int:pk>/", views.for_asset, name="for-asset"),
    path("assets/<int:pk>/marks.json", views.marks, name="marks"),
]

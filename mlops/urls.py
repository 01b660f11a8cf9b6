from django.urls import path

from mlops import views

app_name = "mlops"
urlpatterns = [
    path("", views.models, name="models"),
    path("<int:pk>/evict/", views.evict, name="evict"),
    path("<int:pk>/withdraw/", views.withdraw, name="withdraw"),
    path("mlflow/", views.mlflow, name="mlflow"),
    path("mlflow/<path:path>", views.mlflow, name="mlflow-path"),
    path("validation/", views.validation, name="validation"),
    path("assets/<int:pk>/", views.for_asset, name="for-asset"),
    path("assets/<int:pk>/marks.json", views.marks, name="marks"),
]

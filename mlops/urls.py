from django.urls import path

from mlops import views

app_name = "mlops"
urlpatterns = [
    path("validation/", views.validation, name="validation"),
    path("assets/<int:pk>/", views.for_asset, name="for-asset"),
    path("assets/<int:pk>/marks.json", views.marks, name="marks"),
]

from django.urls import path

from alerts import critical, performance, views

app_name = "alerts"
urlpatterns = [
    path("", views.inbox, name="inbox"),
    path("open/", views.open_panel, name="open-panel"),
    path("attention/", views.attention_panel, name="attention-panel"),
    path("critical/", critical.critical, name="critical"),
    path("statistics/", performance.performance, name="statistics"),
    path("assets/<int:pk>/", views.for_asset, name="for-asset"),
    path("<int:pk>/", views.alert, name="alert"),
    path("<int:pk>/acknowledge/", views.acknowledge, name="acknowledge"),
    path("acknowledge/", views.acknowledge_many, name="acknowledge-many"),
    path("<int:pk>/snooze/", views.snooze, name="snooze"),
    path("<int:pk>/assign/", views.assign, name="assign"),
    path("<int:pk>/comment/", views.comment, name="comment"),
    path("<int:pk>/resolve/", views.resolve, name="resolve"),
]

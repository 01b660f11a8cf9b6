from django.urls import path

from alerts import notification_views as notifications
from alerts import views

app_name = "alerts"
urlpatterns = [
    path("", views.inbox, name="inbox"),
    path("open/", views.open_panel, name="open-panel"),
    path("attention/", views.attention_panel, name="attention-panel"),
    path("assets/<int:pk>/", views.for_asset, name="for-asset"),
    path("<int:pk>/", views.alert, name="alert"),
    path("<int:pk>/acknowledge/", views.acknowledge, name="acknowledge"),
    path("acknowledge/", views.acknowledge_many, name="acknowledge-many"),
    path("<int:pk>/snooze/", views.snooze, name="snooze"),
    path("<int:pk>/assign/", views.assign, name="assign"),
    path("<int:pk>/comment/", views.comment, name="comment"),
    path("<int:pk>/resolve/", views.resolve, name="resolve"),
    path("<int:pk>/messages/", notifications.messages_of, name="messages"),
    path("routes/", notifications.routes, name="routes"),
    path("routes/new/", notifications.new_route, name="new-route"),
    path("routes/<int:pk>/", notifications.route, name="route"),
    path("silences/", notifications.silences_, name="silences"),
    path("silences/<int:pk>/end/", notifications.end_silence, name="end-silence"),
    path("on-call/", notifications.schedules, name="schedules"),
    path("on-call/new/", notifications.new_schedule, name="new-schedule"),
    path("on-call/<int:pk>/", notifications.schedule, name="schedule"),
    path("on-call/<int:pk>/change/", notifications.change_schedule, name="change-schedule"),
    path("on-call/<int:pk>/rotation/", notifications.add_rotation, name="add-rotation"),
    path("on-call/<int:pk>/override/", notifications.add_override, name="add-override"),
    path("policies/", notifications.policies, name="policies"),
    path("policies/new/", notifications.new_policy, name="new-policy"),
    path("policies/<int:pk>/", notifications.policy, name="policy"),
    path("preferences/", notifications.preferences, name="preferences"),
]

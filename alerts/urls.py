from django.urls import path

from alerts import critical, delivery_views, performance, views
from alerts.rules import views as rules

app_name = "alerts"
urlpatterns = [
    path("", views.inbox, name="inbox"),
    path("open/", views.open_panel, name="open-panel"),
    path("attention/", views.attention_panel, name="attention-panel"),
    path("critical/", critical.critical, name="critical"),
    path("statistics/", performance.performance, name="statistics"),
    path("assets/<int:pk>/", views.for_asset, name="for-asset"),
    path("rules/", rules.index, name="rules"),
    path("rules/new/", rules.new, name="new-rule"),
    path("rules/<int:pk>/", rules.rule, name="rule"),
    path("rules/<int:pk>/edit/", rules.edit, name="edit-rule"),
    path("rules/<int:pk>/switch/", rules.switch, name="switch-rule"),
    path("rules/<int:pk>/delete/", rules.remove, name="delete-rule"),
    path("sensors/<int:pk>/limits/", rules.limits, name="limits"),
    path("<int:pk>/", views.alert, name="alert"),
    path("<int:pk>/acknowledge/", views.acknowledge, name="acknowledge"),
    path("acknowledge/", views.acknowledge_many, name="acknowledge-many"),
    path("<int:pk>/snooze/", views.snooze, name="snooze"),
    path("<int:pk>/assign/", views.assign, name="assign"),
    path("<int:pk>/comment/", views.comment, name="comment"),
    path("<int:pk>/resolve/", views.resolve, name="resolve"),
    path("channels/", delivery_views.channels, name="channels"),
    path("channels/new/", delivery_views.new_channel, name="new-channel"),
    path("channels/<int:pk>/", delivery_views.channel, name="channel"),
    path("channels/<int:pk>/test/", delivery_views.test_channel, name="test-channel"),
    path("channels/<int:pk>/resend/", delivery_views.redrive_channel, name="redrive-channel"),
    path("deliveries/", delivery_views.deliveries, name="deliveries"),
    path("deliveries/<int:pk>/", delivery_views.delivery, name="delivery"),
    path("deliveries/<int:pk>/resend/", delivery_views.redrive, name="redrive"),
    path("by-link/<str:token>/", delivery_views.by_link, name="by-link"),
]

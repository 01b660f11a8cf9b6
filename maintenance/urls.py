from django.urls import path

from maintenance import figure_views, log_views, views

app_name = "maintenance"
urlpatterns = [
    path("", views.work_orders, name="work-orders"),
    path("figures/", figure_views.figures_page, name="figures"),
    path("log/", log_views.entries, name="log-book"),
    path("log/<int:pk>/", log_views.entry, name="log-entry"),
    path("assets/<int:pk>/log/", log_views.write, name="write-log"),
    path("assets/<int:pk>/work.json", log_views.marks, name="work-marks"),
    path("due/", views.due_panel, name="due-panel"),
    path("assets/<int:pk>/", views.for_asset, name="for-asset"),
    path("assets/<int:pk>/foretold/", views.foretold, name="foretold"),
    path("assets/<int:pk>/new/", views.open_for_asset, name="open-for-asset"),
    path("alerts/<int:pk>/", views.for_alert, name="for-alert"),
    path("alerts/<int:pk>/open/", views.open_for_alert, name="open-for-alert"),
    path("<int:pk>/", views.work_order, name="work-order"),
    path("<int:pk>/start/", views.start, name="start"),
    path("<int:pk>/log/", views.log, name="log"),
    path("<int:pk>/close/", views.close, name="close"),
    path("<int:pk>/cancel/", views.cancel, name="cancel"),
]

from django.urls import path

from maintenance import figure_views, log_views, my_work, order_views, report_views, views

app_name = "maintenance"
urlpatterns = [
    path("", views.work_orders, name="work-orders"),
    path("mine/", my_work.mine, name="mine"),
    path("worker.js", my_work.worker, name="worker"),
    path("figures/", figure_views.figures_page, name="figures"),
    path("reports/", report_views.index, name="reports"),
    path("reports/new/", report_views.make, name="make-report"),
    path("reports/schedule/", report_views.schedule, name="schedule-report"),
    path("reports/<int:pk>/", report_views.report, name="report"),
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
    path("<int:pk>/", order_views.work_order, name="work-order"),
    path("<int:pk>/approve/", order_views.approve, name="approve"),
    path("<int:pk>/schedule/", order_views.schedule, name="schedule"),
    path("<int:pk>/start/", order_views.start, name="start"),
    path("<int:pk>/hold/", order_views.hold, name="hold"),
    path("<int:pk>/finish/", order_views.finish, name="finish"),
    path("<int:pk>/reopen/", order_views.reopen, name="reopen"),
    path("<int:pk>/log/", order_views.log, name="log"),
    path("<int:pk>/comment/", order_views.comment, name="comment"),
    path("<int:pk>/close/", order_views.close, name="close"),
    path("<int:pk>/cancel/", order_views.cancel, name="cancel"),
]

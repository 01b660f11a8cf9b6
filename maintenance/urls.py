from django.urls import path

from maintenance import calendar_views, plan_views, stock_views, views

app_name = "maintenance"
urlpatterns = [
    path("", views.work_orders, name="work-orders"),
    path("due/", views.due_panel, name="due-panel"),
    path("assets/<int:pk>/", views.for_asset, name="for-asset"),
    path("assets/<int:pk>/foretold/", views.foretold, name="foretold"),
    path("assets/<int:pk>/new/", views.open_for_asset, name="open-for-asset"),
    path("alerts/<int:pk>/", views.for_alert, name="for-alert"),
    path("alerts/<int:pk>/open/", views.open_for_alert, name="open-for-alert"),
    path("plans/", plan_views.index, name="plans"),
    path("plans/new/", plan_views.new, name="new-plan"),
    path("plans/<int:pk>/", plan_views.plan, name="plan"),
    path("plans/<int:pk>/edit/", plan_views.edit, name="edit-plan"),
    path("plans/<int:pk>/switch/", plan_views.switch, name="switch-plan"),
    path("parts/", stock_views.index, name="parts"),
    path("parts/new/", stock_views.new, name="new-part"),
    path("parts/<int:pk>/", stock_views.part, name="part"),
    path("parts/<int:pk>/deliver/", stock_views.deliver, name="deliver-part"),
    path("parts/<int:pk>/count/", stock_views.count, name="count-part"),
    path("part-uses/<int:pk>/put-back/", stock_views.put_back, name="put-back"),
    path("<int:pk>/parts/", stock_views.for_order, name="parts-of-order"),
    path("<int:pk>/parts/take/", stock_views.take, name="take-part"),
    path("calendar/", calendar_views.month, name="calendar"),
    path("calendar/link/", calendar_views.link, name="calendar-link"),
    path("calendar/<str:secret>.ics", calendar_views.feed, name="calendar-feed"),
    path("workload/", calendar_views.workload, name="workload"),
    path("<int:pk>/", views.work_order, name="work-order"),
    path("<int:pk>/start/", views.start, name="start"),
    path("<int:pk>/log/", views.log, name="log"),
    path("<int:pk>/close/", views.close, name="close"),
    path("<int:pk>/cancel/", views.cancel, name="cancel"),
]

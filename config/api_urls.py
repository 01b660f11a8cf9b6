"""Everything below /api/v1/."""

from django.urls import path
from rest_framework.routers import SimpleRouter

from alerts.api import AlertViewSet
from maintenance.api import AlertWorkOrder, VerdictViewSet, WorkOrderViewSet
from mlops.api import AnomalyViewSet
from sensors.api import AssetViewSet, BatchViewSet, SensorFaultViewSet, SensorReadings, SensorViewSet, SiteViewSet
from sensors.doors.views import ReadingsDoor

app_name = "api"

router = SimpleRouter(use_regex_path=False)
router.register("sites", SiteViewSet, "site")
router.register("assets", AssetViewSet, "asset")
router.register("sensors", SensorViewSet, "sensor")
router.register("sensor-faults", SensorFaultViewSet, "sensor-fault")
router.register("batches", BatchViewSet, "batch")
router.register("anomalies", AnomalyViewSet, "anomaly")
router.register("alerts", AlertViewSet, "alert")
router.register("work-orders", WorkOrderViewSet, "work-order")
router.register("verdicts", VerdictViewSet, "verdict")

urlpatterns = [
    path("readings/", ReadingsDoor.as_view(), name="readings"),
    path("sensors/<int:id>/readings/", SensorReadings.as_view(), name="sensor-readings"),
    path("alerts/<int:pk>/work-order/", AlertWorkOrder.as_view(), name="alert-work-order"),
    *router.urls,
]

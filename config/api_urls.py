"""Everything below /api/v1/."""

from django.urls import path
from rest_framework.routers import SimpleRouter

from alerts.api import AlertViewSet
from alerts.delivery.api import ChannelViewSet, DeliveryViewSet
from alerts.routing.api import OwnPreference, PolicyViewSet, RouteViewSet, ScheduleViewSet, SilenceViewSet
from alerts.rules.api import FiringViewSet, RuleViewSet
from alerts.statistics_api import AlertStatistics
from maintenance.api import AlertWorkOrder, VerdictViewSet, WorkOrderViewSet
from maintenance.checklist_api import AttachmentViewSet, ChecklistItemViewSet
from maintenance.class_api import AssetClassViewSet, AssetTemplateViewSet, FailureModeViewSet
from maintenance.figures_api import FiguresExport, FiguresView
from maintenance.log_api import LogViewSet
from maintenance.plan_api import OccurrenceViewSet, PlanViewSet
from maintenance.report_api import ReportViewSet
from maintenance.stock_api import PartUseViewSet, PartViewSet
from mlops.api import AnomalyViewSet, ModelVersionViewSet
from mlops.health_api import HealthViewSet
from mlops.precision_api import DetectorPrecision
from mlops.prediction.api import Predict, SensorScores
from mlops.repair_api import RepairCheckViewSet
from sensors.api.annotations import AnnotationViewSet, CorrectionViewSet
from sensors.api.imports import ImportViewSet
from sensors.api.plant import AssetViewSet, BatchViewSet, SensorFaultViewSet, SensorReadings, SensorViewSet, SiteViewSet
from sensors.api.quarantine import AuditEntryViewSet, QuarantinedViewSet
from sensors.api.series import SensorExport, SensorSeries
from sensors.doors.views import ReadingsDoor

app_name = "api"

router = SimpleRouter(use_regex_path=False)
router.register("sites", SiteViewSet, "site")
router.register("assets", AssetViewSet, "asset")
router.register("asset-health", HealthViewSet, "asset-health")
router.register("sensors", SensorViewSet, "sensor")
router.register("sensor-faults", SensorFaultViewSet, "sensor-fault")
router.register("batches", BatchViewSet, "batch")
router.register("imports", ImportViewSet, "import")
router.register("quarantine", QuarantinedViewSet, "quarantined")
router.register("annotations", AnnotationViewSet, "annotation")
router.register("corrections", CorrectionViewSet, "correction")
router.register("audit-log", AuditEntryViewSet, "audit-entry")
router.register("anomalies", AnomalyViewSet, "anomaly")
router.register("models", ModelVersionViewSet, "model")
router.register("alerts", AlertViewSet, "alert")
router.register("routes", RouteViewSet, "route")
router.register("silences", SilenceViewSet, "silence")
router.register("schedules", ScheduleViewSet, "schedule")
router.register("escalation-policies", PolicyViewSet, "escalation-policy")
router.register("channels", ChannelViewSet, "channel")
router.register("deliveries", DeliveryViewSet, "delivery")
router.register("rules", RuleViewSet, "rule")
router.register("firings", FiringViewSet, "firing")
router.register("work-orders", WorkOrderViewSet, "work-order")
router.register("plans", PlanViewSet, "plan")
router.register("plan-occurrences", OccurrenceViewSet, "plan-occurrence")
router.register("parts", PartViewSet, "part")
router.register("part-uses", PartUseViewSet, "part-use")
router.register("asset-classes", AssetClassViewSet, "asset-class")
router.register("asset-templates", AssetTemplateViewSet, "asset-template")
router.register("failure-modes", FailureModeViewSet, "failure-mode")
router.register("repair-checks", RepairCheckViewSet, "repair-check")
router.register("checklist-items", ChecklistItemViewSet, "checklist-item")
router.register("attachments", AttachmentViewSet, "attachment")
router.register("reports", ReportViewSet, "report")
router.register("maintenance-logs", LogViewSet, "log")
router.register("verdicts", VerdictViewSet, "verdict")

urlpatterns = [
    path("readings/", ReadingsDoor.as_view(), name="readings"),
    path("sensors/<int:id>/readings/", SensorReadings.as_view(), name="sensor-readings"),
    path("sensors/<int:id>/series/", SensorSeries.as_view(), name="sensor-series"),
    path("sensors/<int:id>/export/", SensorExport.as_view(), name="sensor-series-export"),
    path("sensors/<int:id>/scores/", SensorScores.as_view(), name="sensor-scores"),
    path("preferences/", OwnPreference.as_view(), name="preferences"),
    path("detectors/precision/", DetectorPrecision.as_view(), name="detector-precision"),
    path("predict/", Predict.as_view(), name="predict"),
    path("alerts/statistics/", AlertStatistics.as_view(), name="alert-statistics"),
    path("alerts/<int:pk>/work-order/", AlertWorkOrder.as_view(), name="alert-work-order"),
    path("figures/", FiguresView.as_view(), name="figures"),
    path("figures/export/", FiguresExport.as_view(), name="figures-export"),
    *router.urls,
]

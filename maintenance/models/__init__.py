"""Work orders and their steps, what was done, and what was found."""

from maintenance.models.asset_templates import AssetTemplate
from maintenance.models.findings import FailureMode, MaintenanceLog, Verdict
from maintenance.models.work_orders import Outcome, WorkOrder, WorkOrderStep

__all__ = ["AssetTemplate", "FailureMode", "MaintenanceLog", "Outcome", "Verdict", "WorkOrder", "WorkOrderStep"]

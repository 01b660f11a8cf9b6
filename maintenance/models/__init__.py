"""Work orders and their steps, what was done, and what was found."""

from maintenance.models.checklists import Attachment, ChecklistItem
from maintenance.models.findings import FailureMode, MaintenanceLog, Verdict
from maintenance.models.work_orders import Outcome, WorkOrder, WorkOrderStep

__all__ = [
    "Attachment",
    "ChecklistItem",
    "FailureMode",
    "MaintenanceLog",
    "Outcome",
    "Verdict",
    "WorkOrder",
    "WorkOrderStep",
]

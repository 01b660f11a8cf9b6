"""Work orders and their steps, what was done and found, what is planned, and what is in stock."""

from maintenance.models.asset_templates import AssetTemplate
from maintenance.models.checklists import Attachment, ChecklistItem
from maintenance.models.feeds import CalendarLink
from maintenance.models.findings import FailureMode, MaintenanceLog, Verdict
from maintenance.models.plans import Plan, PlanOccurrence
from maintenance.models.reports import Report, ReportSchedule
from maintenance.models.stock import Part, PartUse
from maintenance.models.work_orders import Outcome, WorkOrder, WorkOrderStep

__all__ = [
    "AssetTemplate",
    "Attachment",
    "CalendarLink",
    "ChecklistItem",
    "FailureMode",
    "MaintenanceLog",
    "Outcome",
    "Part",
    "PartUse",
    "Plan",
    "PlanOccurrence",
    "Report",
    "ReportSchedule",
    "Verdict",
    "WorkOrder",
    "WorkOrderStep",
]

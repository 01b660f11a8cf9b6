"""Records for people. Django imports this package; it registers what its modules hold."""

from sensors.admin import intake, records
from sensors.admin.base import ReadOnly, SiteScopedAdmin, VisibleChoices, VisibleRelatedFilter

__all__ = ["ReadOnly", "SiteScopedAdmin", "VisibleChoices", "VisibleRelatedFilter", "intake", "records"]

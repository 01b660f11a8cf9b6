"""Sites, assets, sensors, their readings and how far those can be trusted, and the outbox of work that they cause."""

from sensors.models.access import ApiKey
from sensors.models.imports import Import
from sensors.models.intake import Annotation, AuditEntry, Correction, IdempotentRequest, Quarantined
from sensors.models.limited import HAS_LIMITS, Limited, Limits
from sensors.models.plant import Asset, AssetClass, AssetDocument, Sensor, Site
from sensors.models.quality import QualityPolicy, SensorFault, SensorProfile
from sensors.models.readings import Pending, Reading, ReadingBatch
from sensors.models.summary import DirtyHour, HourlySummary

__all__ = [
    "HAS_LIMITS",
    "Annotation",
    "ApiKey",
    "Asset",
    "AssetClass",
    "AssetDocument",
    "AuditEntry",
    "Correction",
    "DirtyHour",
    "HourlySummary",
    "IdempotentRequest",
    "Import",
    "Limited",
    "Limits",
    "Pending",
    "QualityPolicy",
    "Quarantined",
    "Reading",
    "ReadingBatch",
    "Sensor",
    "SensorFault",
    "SensorProfile",
    "Site",
]

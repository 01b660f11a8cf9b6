"""Alerts and every step of their lives; the messages by which people hear of them."""

from alerts.models.alert import Alert, Severity, State, Transition
from alerts.models.escalation import Escalation, EscalationPolicy, EscalationStep
from alerts.models.messages import Channel, Contact, Delivery, DeliveryItem
from alerts.models.on_call import Override, Rotation, RotationMember, Schedule
from alerts.models.routing import Preference, Route
from alerts.models.silences import Silence

__all__ = [
    "Alert",
    "Channel",
    "Contact",
    "Delivery",
    "DeliveryItem",
    "Escalation",
    "EscalationPolicy",
    "EscalationStep",
    "Override",
    "Preference",
    "Rotation",
    "RotationMember",
    "Route",
    "Schedule",
    "Severity",
    "Silence",
    "State",
    "Transition",
]

"""Alerts and every step of their lives; the rules that raise them; the messages by which people hear of them."""

from alerts.models.alert import Alert, Severity, State, Transition
from alerts.models.escalation import Escalation, EscalationPolicy, EscalationStep
from alerts.models.message_templates import MessageTemplate
from alerts.models.messages import Channel, Contact, Delivery, DeliveryItem
from alerts.models.on_call import Override, Rotation, RotationMember, Schedule
from alerts.models.routing import Preference, Route
from alerts.models.rules import Condition, Firing, Rule
from alerts.models.silences import Silence

__all__ = [
    "Alert",
    "Channel",
    "Condition",
    "Contact",
    "Delivery",
    "DeliveryItem",
    "Escalation",
    "EscalationPolicy",
    "EscalationStep",
    "Firing",
    "MessageTemplate",
    "Override",
    "Preference",
    "Rotation",
    "RotationMember",
    "Route",
    "Rule",
    "Schedule",
    "Severity",
    "Silence",
    "State",
    "Transition",
]

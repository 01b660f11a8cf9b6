"""Alerts and every step of their lives; the rules that raise them; the messages by which people hear of them."""

from alerts.models.alert import Alert, Severity, State, Transition
from alerts.models.message_templates import MessageTemplate
from alerts.models.messages import Channel, Contact, Delivery, DeliveryItem
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
    "Firing",
    "MessageTemplate",
    "Preference",
    "Route",
    "Rule",
    "Severity",
    "Silence",
    "State",
    "Transition",
]

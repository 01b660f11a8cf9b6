"""Alerts and every step of their lives; the messages by which people hear of them."""

from alerts.models.alert import Alert, Severity, State, Transition
from alerts.models.messages import Channel, Contact, Delivery, DeliveryItem
from alerts.models.routing import Preference, Route
from alerts.models.silences import Silence

__all__ = [
    "Alert",
    "Channel",
    "Contact",
    "Delivery",
    "DeliveryItem",
    "Preference",
    "Route",
    "Severity",
    "Silence",
    "State",
    "Transition",
]

"""The bridge from an MQTT broker: what sensors and gateways publish there is stored like any other reading."""

from sensors.mqtt.bridge import Bridge
from sensors.mqtt.topics import Place, Template

__all__ = ["Bridge", "Place", "Template"]

"""Times and values in templates, always in the site's time zone and the sensor's unit."""

from datetime import datetime

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from sensors import wording
from sensors.models import Sensor, Site

register = template.Library()


@register.simple_tag
def when(at: datetime | None, site: Site) -> str:
    """To the minute; the exact time and its zone on hover."""
    if at is None:
        return "–"
    exact = wording.exact_clock(at, site.timezone)
    return _time(at, wording.clock(at, site.timezone), exact)


@register.simple_tag
def when_exactly(at: datetime, site: Site) -> SafeString:
    """To the millisecond, with the zone."""
    exact = wording.exact_clock(at, site.timezone)
    return _time(at, exact, exact)


@register.simple_tag
def measured(value: float | None, sensor: Sensor) -> str:
    return "–" if value is None else wording.measured(value, sensor.unit)


@register.simple_tag
def in_unit(value: float, unit: str) -> str:
    return wording.measured(value, unit)


@register.simple_tag
def percent(share: float | str | None) -> str:
    return f"{share:.0%}".replace("%", " %") if isinstance(share, float | int) else "–"


@register.simple_tag
def lasting(seconds: float | str | None) -> str:
    return wording.duration(seconds) if isinstance(seconds, float | int) else "–"


def _time(at: datetime, text: str, title: str) -> SafeString:
    return format_html('<time datetime="{}" title="{}">{}</time>', wording.for_machines(at), title, text)

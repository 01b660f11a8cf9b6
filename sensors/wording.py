"""How values and times are written for people."""

from datetime import UTC, datetime, tzinfo

from sensors.quality import Flag

FLAGS = {
    Flag.OUT_OF_RANGE: "outside the physical range",
    Flag.STUCK: "stuck at one value",
    Flag.SPIKE: "a spike",
    Flag.RATE: "changed too fast",
    Flag.GAP: "after a gap",
    Flag.LATE: "came late",
    Flag.OUT_OF_ORDER: "came after younger ones",
    Flag.FUTURE: "ahead of the clock",
    Flag.DUPLICATE: "sent with different values",
    Flag.CLOCK_SKEW: "the sender’s clock is wrong",
}


def measured(value: float, unit: str) -> str:
    """A value with its unit, with as many digits as one can use.

    >>> measured(84.2371, "°C"), measured(1480.2, "rpm"), measured(0.01234, "1")
    ('84.24 °C', '1,480 rpm', '0.01234')
    """
    size = abs(value)
    if size >= 1e7 or 0 < size < 1e-4:
        number = f"{value:.3e}"
    elif size >= 1000:
        number = f"{value:,.0f}"
    elif size >= 1:
        number = f"{value:.1f}" if size >= 100 else f"{value:.2f}"
    else:
        number = f"{value:.4g}"
    return number if unit == "1" else f"{number} {unit}"


def _in_zone(at: datetime, zone: tzinfo) -> datetime:
    """As it was where the zone's clocks would show it past an end of the calendar."""
    try:
        return at.astimezone(zone)
    except (OverflowError, ValueError):
        return at


def clock(at: datetime, zone: tzinfo) -> str:
    """A time to the minute on the wall clock of a site; the year only when it is not the present one.

    >>> clock(datetime(2014, 3, 1, 23, 30, tzinfo=UTC), UTC)
    '1 Mar 2014, 23:30'
    """
    local = _in_zone(at, zone)
    year = "" if local.year == datetime.now(zone).year else f" {local.year}"
    return f"{local.day} {local:%b}{year}, {local:%H:%M}"


def exact_clock(at: datetime, zone: tzinfo) -> str:
    """A time to the millisecond on the wall clock of a site, with its zone.

    >>> exact_clock(datetime(2026, 3, 1, 9, 5, 2, 250000, tzinfo=UTC), UTC)
    '2026-03-01 09:05:02.250 UTC'
    """
    local = _in_zone(at, zone)
    return f"{local:%Y-%m-%d %H:%M:%S}.{local.microsecond // 1000:03d} {local:%Z}"


def duration(seconds: float) -> str:
    """A length of time in the unit that suits it.

    >>> duration(2), duration(90), duration(600), duration(7200), duration(400_000)
    ('2 s', '90 s', '10 min', '2 h', '5 days')
    """
    for limit, size, name in ((100, 1, "s"), (6000, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{max(seconds / size, 0):.2g} {name}" if seconds / size < 10 else f"{seconds / size:.0f} {name}"
    return f"{seconds / 86_400:.0f} days"


def for_machines(at: datetime) -> str:
    """ISO 8601 in UTC, as `<time datetime>` and our JSON carry it."""
    return _in_zone(at, UTC).isoformat().replace("+00:00", "Z")


def flags_in_words(flags: int) -> str:
    """What is doubted about a reading, or remarkable.

    >>> flags_in_words(Flag.SPIKE | Flag.LATE), flags_in_words(0)
    ('a spike, came late', '')
    """
    return ", ".join(words for flag, words in FLAGS.items() if flags & flag)

"""From what a clock on the wall shows to the moment that is meant."""

from datetime import UTC, datetime, tzinfo


def instants(naive: datetime, zone: tzinfo) -> list[datetime]:
    """The moments, in UTC and in order, at which clocks in `zone` show `naive`.

    One as a rule, two in the hour that comes twice in autumn, none in the hour that is left out in spring. Raises
    OverflowError at the ends of the calendar.

    >>> from zoneinfo import ZoneInfo
    >>> berlin = ZoneInfo("Europe/Berlin")
    >>> [at.hour for at in instants(datetime(2026, 10, 25, 2, 30), berlin)]
    [0, 1]
    >>> instants(datetime(2026, 3, 29, 2, 30), berlin)
    []
    """
    moments = {naive.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)}
    return sorted(at for at in moments if at.astimezone(zone).replace(tzinfo=None) == naive.replace(fold=0))

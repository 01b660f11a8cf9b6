"""From what a clock on the wall shows to the moment that is meant."""

from datetime import UTC, datetime, tzinfo

BEGIN, END = datetime(1980, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
OUT_OF_TIME = "Give a time of the years 1980 to 2199."


def in_our_time(at: datetime) -> bool:
    """Whether people may speak of this time; beyond, every other zone may be past the end of the calendar.

    >>> in_our_time(datetime(2026, 1, 1, tzinfo=UTC)), in_our_time(datetime.max.replace(tzinfo=UTC))
    (True, False)
    """
    return BEGIN <= (at if at.tzinfo else at.replace(tzinfo=UTC)) < END


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

"""From what a clock on the wall shows, or an address says, to the moment that is meant."""

from datetime import UTC, datetime, tzinfo

from django.utils.dateparse import parse_datetime

BEGIN, END = datetime(1980, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
OUT_OF_TIME = "Give a time of the years 1980 to 2199."


def in_our_time(at: datetime) -> bool:
    """Whether people may speak of this time; beyond, every other zone may be past the end of the calendar.

    >>> in_our_time(datetime(2026, 1, 1, tzinfo=UTC)), in_our_time(datetime.max.replace(tzinfo=UTC))
    (True, False)
    """
    return BEGIN <= (at if at.tzinfo else at.replace(tzinfo=UTC)) < END


def in_address(text: str) -> datetime:
    """The moment, in UTC, that part of an address names. Raises ValueError, which says what it must be.

    Programs that want everything ask from 1900 or 1970 on, so that is allowed; what lies beyond is a slip.

    >>> in_address("2026-01-01T02:00:00+02:00").isoformat()
    '2026-01-01T00:00:00+00:00'
    """
    try:
        at = parse_datetime(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise ValueError("must be an ISO 8601 time with a zone, e.g. 2026-03-01T09:00:00Z")
    try:
        at = at.astimezone(UTC)
    except OverflowError:
        at = datetime.max.replace(tzinfo=UTC)
    if not 1900 <= at.year < 2200:
        raise ValueError("must be a time of the years 1900 to 2199")
    return at


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

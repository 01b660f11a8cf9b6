"""Public holidays of a country or a part of it, named as in ISO 3166: DE, DE-BY, US-CA."""

import re
from collections.abc import Container
from datetime import date, timedelta
from functools import lru_cache
from typing import Any

from sensors.errors import Refused

PLACE = re.compile(r"([A-Z]{2})(?:-([A-Z0-9]{1,3}))?")
# A year's longest row of days off is shorter by far.
LONGEST_HOLIDAY = timedelta(days=14)


def require_calendar(place: str) -> None:
    """Raises Refused (`unknown_holidays`) unless this place's holidays are known; "" is nowhere and has none."""
    if place:
        _calendar(place)


def is_holiday(place: str, day: date) -> bool:
    """
    >>> is_holiday("DE-BY", date(2027, 1, 6)), is_holiday("DE-BE", date(2027, 1, 6)), is_holiday("", date(2027, 1, 1))
    (True, False, False)
    """
    return bool(place) and day in _days_off(place)


def next_working_day(place: str, day: date) -> date:
    """The first day after `day` that is neither a public holiday nor of the weekend there.

    >>> next_working_day("DE-BY", date(2026, 4, 3))
    datetime.date(2026, 4, 7)
    """
    found: date = _calendar(place).get_nth_working_day(day, 1)
    return found


def _days_off(place: str) -> Container[date]:
    days: Container[date] = _calendar(place)
    return days


@lru_cache(maxsize=256)
def _calendar(place: str) -> Any:
    # Loading the package takes a third of a second, and most plans know no holidays.
    import holidays

    named = PLACE.fullmatch(place)
    try:
        if named:
            return holidays.country_holidays(named[1], subdiv=named[2])
    except NotImplementedError:
        pass
    detail = f"The public holidays of {place[:10]!r} are not known; name a country as DE or a part of it as DE-BY."
    raise Refused("unknown_holidays", detail, 422)

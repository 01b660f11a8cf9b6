"""How many messages a person gets in an hour, after ISA-18.2: an operator can deal with about six alarms an hour."""

from bisect import bisect_left, insort
from datetime import datetime, timedelta

HOUR = timedelta(hours=1)


def has_room(times: list[datetime], at: datetime, most: int) -> bool:
    """Whether with one more message at `at` no hour has more than `most`; `times`, in order, are of the others."""
    first = bisect_left(times, at - HOUR)
    near = [time for time in times[first : bisect_left(times, at + HOUR)] if time > at - HOUR]
    if len(near) < most:
        return True
    insort(near, at)
    return all(near[i + most] - near[i] >= HOUR for i in range(len(near) - most))


def earliest(times: list[datetime], at: datetime, most: int) -> datetime:
    """The first moment from `at` on with room for one more message."""
    if has_room(times, at, most):
        return at
    return next(end for end in (time + HOUR for time in times) if end > at and has_room(times, end, most))

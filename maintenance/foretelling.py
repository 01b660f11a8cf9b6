"""Whether firings came before faults that technicians found: what a rule that is tried on the past would have been
good for.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

from maintenance.models import Outcome, Verdict
from sensors.models import Asset

# A firing that began longer before a fault was noticed is of something else.
LONGEST_LEAD = timedelta(days=7)
Stretch = tuple[datetime, datetime]


@dataclass(frozen=True)
class Foretelling:
    """`faults` were found; `hit` of them had a firing up to seven days before or while they lasted, `leads` holds by
    how much the first one was earlier than the alert of the time, where it was. `idle` of `firings` belong to no fault.
    """

    faults: int
    hit: int
    leads: tuple[timedelta, ...]
    firings: int
    idle: int

    @property
    def median_lead(self) -> timedelta | None:
        seconds = [lead.total_seconds() for lead in self.leads]
        return timedelta(seconds=median(seconds)) if seconds else None


def foretold(asset: Asset, firings: list[Stretch], start: datetime, end: datetime) -> Foretelling:
    """Hold firings against the faults that verdicts say were found on an asset from `start` to `end`.

    Verdicts of one work order are of one fault, which lasts from the first alert's beginning to the last one's end.
    """
    faults = _faults(asset, start, end)
    first = [min((at for at, _ in firings if _is_of(at, fault)), default=None) for fault in faults]
    leads = [begin - at for (begin, _), at in zip(faults, first, strict=True) if at is not None and at < begin]
    return Foretelling(
        faults=len(faults),
        hit=sum(at is not None for at in first),
        leads=tuple(leads),
        firings=len(firings),
        idle=sum(not any(_is_of(at, fault) for fault in faults) for at, _ in firings),
    )


def _faults(asset: Asset, start: datetime, end: datetime) -> list[Stretch]:
    rows = Verdict.objects.filter(asset=asset, outcome=Outcome.FAULT_FOUND, window_start__lt=end, window_end__gt=start)
    whole: dict[str, Stretch] = {}
    for row in rows.only("pk", "work_order_id", "window_start", "window_end"):
        key = f"order {row.work_order_id}" if row.work_order_id else f"verdict {row.pk}"
        begun, ended = whole.get(key, (row.window_start, row.window_end))
        whole[key] = min(begun, row.window_start), max(ended, row.window_end)
    return sorted(whole.values())


def _is_of(at: datetime, fault: Stretch) -> bool:
    return fault[0] - LONGEST_LEAD <= at <= fault[1]

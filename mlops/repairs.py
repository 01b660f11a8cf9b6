"""Whether closed jobs did their work: looked at once enough has come in after them, each job once.

The rows are the queue: `order` closes, a sweep makes its `RepairCheck` with the time to look at it, and answers what is
due. A worker that dies leaves the row as it was.
"""

from datetime import datetime, timedelta
from typing import Any

import numpy as np
from django.db import transaction
from django.db.models import Exists, OuterRef

from maintenance.models import Outcome, WorkOrder
from mlops import before_after
from mlops.before_after import HOUR_US, Answer, Compared, Samples, Signal
from mlops.models import RepairCheck
from mlops.training import normal_series, us
from sensors import history, live
from sensors.history import Window
from sensors.models import Sensor

CHECKED = (Outcome.FAULT_FOUND, Outcome.PLANNED_WORK)
# Orders that were closed longer ago, imported ones for instance, are not looked at.
LATELY = timedelta(days=7)
# A machine runs in for an hour; a day shows its usual states, a week more of them.
RUNNING_IN, FIRST_LOOK, LOOK_AGAIN, LAST_LOOK = (
    timedelta(hours=1),
    timedelta(days=1),
    timedelta(hours=12),
    timedelta(days=7),
)
NORMAL_DAYS = 14
# What the chart shows before the fault.
SHOWN_BEFORE = timedelta(days=1)
AT_ONCE = 20
MOST_SENSORS = 50


def check_due(now: datetime) -> int:
    """Make the checks of orders that were closed lately, and answer what is due; returns how many were looked at."""
    unseen = WorkOrder.objects.filter(
        ~Exists(RepairCheck.objects.filter(order=OuterRef("pk"))),
        closed_at__gt=now - LATELY,
        state=WorkOrder.State.CLOSED,
        outcome__in=CHECKED,
    )
    RepairCheck.objects.bulk_create(
        [RepairCheck(order=order, due_at=order.closed_at + FIRST_LOOK) for order in unseen], ignore_conflicts=True
    )
    looked_at = 0
    while looked_at < AT_ONCE and _check_next(now):
        looked_at += 1
    return looked_at


def _check_next(now: datetime) -> bool:
    with transaction.atomic():
        due = RepairCheck.objects.filter(due_at__lte=now).select_for_update(skip_locked=True, of=("self",))
        check = due.select_related("order__asset").order_by("due_at").first()
        if check is None:
            return False
        look(check, now)
        live.publish("work", site_id=check.order.site_id, asset_id=check.order.asset_id)
    return True


def look(check: RepairCheck, now: datetime) -> None:
    """Answer a check, or put it off when what came in so far says too little and there is time left."""
    order = check.order
    assert order.closed_at is not None
    fault = order.outcome == Outcome.FAULT_FOUND
    signals = {sensor.pk: (sensor, _signal(sensor, order, now)) for sensor in _sensors(order)}
    alerting = set(Sensor.objects.filter(alerts__verdicts__work_order=order).values_list("pk", flat=True))
    compared = before_after.compare([signal for _, signal in signals.values()], fault, alerting, seed=order.pk)
    answer, reason = before_after.overall(compared, fault)
    check.checked_at = now
    if answer == Answer.CANNOT_TELL and signals and now < order.closed_at + LAST_LOOK:
        check.due_at = now + LOOK_AGAIN
    else:
        check.due_at, check.answer, check.reason = None, answer.value, reason[:2000]
        check.evidence = {"sensors": [_frozen(each, *signals[each.key], order) for each in compared]}
    check.save()


def _sensors(order: WorkOrder) -> list[Sensor]:
    return list(order.asset.sensors.filter(status=Sensor.Status.ACTIVE).order_by("pk")[:MOST_SENSORS])


def _fault_from(order: WorkOrder) -> datetime:
    """When the fault began to show, or the job was asked for."""
    began = order.verdicts.order_by("window_start").values_list("window_start", flat=True).first()
    return min(began or order.created_at, _work(order)[0])


def _work(order: WorkOrder) -> tuple[datetime, datetime]:
    assert order.closed_at is not None
    return order.started_at or order.closed_at, order.closed_at


def _signal(sensor: Sensor, order: WorkOrder, now: datetime) -> Signal:
    begin, (started, closed) = _fault_from(order), _work(order)
    stretches = [(begin, started), (closed + RUNNING_IN, min(now, closed + LAST_LOOK))]
    step = before_after.STEP_US
    windows = [Window(sensor.pk, us(start), max(us(start), us(stop)), step) for start, stop in stretches]
    before, after = (Samples(*series) for series in history.samples(windows))
    normal = _thinned(*normal_series(sensor, begin, NORMAL_DAYS))
    return Signal(sensor.pk, str(sensor), sensor.kind, normal, before, after)


def _thinned(times: Any, values: Any) -> Samples:
    """The first reading of every step, as the other samples are."""
    _, firsts = np.unique(times // before_after.STEP_US, return_index=True)
    return Samples(times[firsts], values[firsts])


def _frozen(compared: Compared, sensor: Sensor, signal: Signal, order: WorkOrder) -> dict[str, Any]:
    return {
        "sensor": sensor.pk,
        "answer": compared.answer.value,
        "reason": compared.reason,
        "before": compared.before and list(vars(compared.before).values()),
        "after": compared.after and list(vars(compared.after).values()),
        "chart": _chart(sensor, signal, order),
    }


def _chart(sensor: Sensor, signal: Signal, order: WorkOrder) -> dict[str, Any] | None:
    """Hourly medians from a day before the fault on; times in seconds since 1970."""
    recent = signal.normal.times >= us(_fault_from(order) - SHOWN_BEFORE)
    times = np.concatenate([signal.normal.times[recent], signal.before.times, signal.after.times])
    values = np.concatenate([signal.normal.values[recent], signal.before.values, signal.after.values])
    if not len(times) or not len(signal.normal.values):
        return None
    hours = np.unique(times // HOUR_US)
    medians = [round(float(np.median(values[times // HOUR_US == hour])), 6) for hour in hours]
    return {
        "title": f"{sensor}{'' if sensor.unit == '1' else f', {sensor.unit}'}",
        "times": [int(hour) * 3600 for hour in hours],
        "values": medians,
        "usual": round(float(np.median(signal.normal.values)), 6),
        "work": [at.timestamp() for at in _work(order)],
    }

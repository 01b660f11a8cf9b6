"""What else was seen around an event, from stored readings alone: earlier days, the machine's state, its neighbours."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from mlops import earlier_days
from mlops.detectors import robust
from mlops.detectors.robust import DAY_US, HOUR_US
from mlops.events import Event
from mlops.two_states import threshold_between_states
from sensors import history
from sensors.history import Series, Window
from sensors.models import Asset, Sensor
from sensors.units import Kind

MINUTE_US = 60_000_000

# Kinds of sensors that show whether a machine runs, the plainest first.
SHOWS_STATE = (Kind.POWER, Kind.CURRENT, Kind.SPEED)
# What is over so much time after a start or stop may belong to it.
TRANSIENT_US = 15 * MINUTE_US
LOOKS_AT_CHANGE = 60
# Two states are told apart by two weeks, looked at every half hour.
STATES_US, STATES_STEP_US = 14 * DAY_US, HOUR_US // 2
# A neighbour moved when its level during the event lies this many of its spreads from that of the day before, as far as
# a reading must lie to be anomalous.
MOVED = 4.0
BEFORE_US, BEFORE_STEP_US = DAY_US, HOUR_US // 4
LOOKS_AT_NEIGHBOUR = 12
MOST_NEIGHBOURS = 20


@dataclass(frozen=True)
class Change:
    """What a machine did ("started", "stopped"; empty for neither), and what shows it."""

    done: str = ""
    shown_by: str = ""


def share_of_closer_days(sensor: Sensor, event: Event) -> float | None:
    """The share of ordinary days that resemble another one more than the event's does; None for too few of them."""
    start = min(event.start, event.window[0].at)
    asked = earlier_days.windows(sensor.pk, start, event.end)
    return earlier_days.share_of_closer_days(asked, history.samples(asked), start)


def change_of_state(asset: int, event: Event, but: int | None = None) -> Change:
    """The start or stop of an asset that an event follows and does not outlast, as another of its sensors than `but`
    shows it. What begins before the machine stops may be why it stops, and is not explained by it.
    """
    if event.end - event.start > TRANSIENT_US:
        return Change()
    for sensor in _showing_state(asset, but):
        first = event.start - TRANSIENT_US
        around = Window(sensor.pk, first, event.end + 1, max((event.end + 1 - first) // LOOKS_AT_CHANGE, 1))
        usual = Window(sensor.pk, first - STATES_US, first, STATES_STEP_US)
        (_, known), (timestamps, values) = history.samples([usual, around])
        threshold = threshold_between_states(known)
        if threshold is None or len(values) < 2:
            continue
        running = values > threshold
        changes = np.flatnonzero((running[1:] != running[:-1]) & (timestamps[:-1] < event.start)) + 1
        if len(changes) and event.end - timestamps[changes[-1]] <= TRANSIENT_US:
            return Change("started" if running[changes[-1]] else "stopped", str(sensor))
        return Change()
    return Change()


def neighbours(sensor: Sensor, event: Event) -> tuple[int, int]:
    """Of the sensors of the kind on other assets of the same parent (of the same site where there is none), how many
    moved to the same side as this one during the event, and how many did not. Parts of one machine are no neighbours.
    """
    parent = sensor.asset.parent
    if parent is not None and parent.level in (Asset.Level.MACHINE, Asset.Level.COMPONENT):
        return 0, 0
    others = Sensor.objects.filter(kind=sensor.kind, unit=sensor.unit, site=sensor.site_id, status=Sensor.Status.ACTIVE)
    others = others.filter(asset__parent=parent).exclude(asset=sensor.asset_id)
    keys = list(others.order_by("pk").values_list("pk", flat=True)[:MOST_NEIGHBOURS])
    if not keys:
        return 0, 0
    step = max((event.end + 1 - event.start) // LOOKS_AT_NEIGHBOUR, 1)
    windows = [Window(key, event.start - BEFORE_US, event.start, BEFORE_STEP_US) for key in keys]
    windows += [Window(key, event.start, event.end + 1, step) for key in keys]
    found = history.samples(windows)
    side = 1.0 if event.peak.score > 0 else -1.0
    moves = [_moved(before, during) for before, during in zip(found[: len(keys)], found[len(keys) :], strict=True)]
    known = [move * side >= MOVED for move in moves if move is not None]
    return known.count(True), known.count(False)


def _showing_state(asset: int, but: int | None) -> Iterable[Sensor]:
    sensors = Sensor.objects.filter(asset=asset, kind__in=SHOWS_STATE, status=Sensor.Status.ACTIVE).exclude(pk=but)
    order = {kind.value: place for place, kind in enumerate(SHOWS_STATE)}
    return sorted(sensors, key=lambda sensor: (order[sensor.kind], sensor.pk))


def _moved(before: Series, during: Series) -> float | None:
    """How far the level moved, in spreads of the day before; None where that is not known."""
    profile = robust.learn(*before)
    if profile is None or not len(during[1]):
        return None
    return (float(np.median(during[1])) - profile.median) / profile.spread

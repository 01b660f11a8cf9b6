"""How well a machine is, in one number that can be taken apart: 100, less a deduction for everything that speaks
against it, each with a sentence.

The number is only given when enough of the asset's sensors are watched just now (`LEAST_COVERAGE`); otherwise its
health is unknown, and what speaks against it is listed all the same. Weights and limits are chosen by us and not
measured: one high alert takes an asset out of "good", a critical and a high one make it "poor", and nothing but alerts
makes it poor alone.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from alerts.models import Severity
from sensors import zones
from sensors.models import Limits
from sensors.wording import measured

GOOD_FROM, FAIR_FROM = 80, 50
# With fewer of its sensors watched, a good number would say more of the sensors than of the machine.
LEAST_COVERAGE = 0.5
# A sensor is fresh when it was read within ten of its intervals, or an hour for those that are quick.
FRESH, FRESH_INTERVALS = timedelta(hours=1), 10

ALERT = {Severity.LOW: 4.0, Severity.MEDIUM: 10.0, Severity.HIGH: 21.0, Severity.CRITICAL: 45.0}
# What has been the matter for a day is no passing trouble.
LASTING, LASTING_FACTOR = timedelta(days=1), 1.25
ANOMALIES_WITHIN, ANOMALY = timedelta(days=7), 4.0
BEYOND_ALARM, BEYOND_WARN, NEAR_LIMIT = 15.0, 8.0, 3.0
# So close to a limit, as a share of the distance between its warning and its alarm, or else of the limit itself.
NEAR = 0.1
ZONE = {"C": 8.0, "D": 15.0}
FAULTY, DOUBTED = 4.0, 2.0
OVERDUE, LONG_OVERDUE, LONG = 5.0, 10.0, timedelta(days=7)
FAILURES_WITHIN, FAILURE = timedelta(days=30), 6.0
DOUBTED_MODEL = 5.0
# No group of reasons counts for more than this; only alerts may take everything.
MOST = {"anomalies": 16.0, "values": 25.0, "sensors": 12.0, "work": 15.0, "failures": 18.0}


NO_LIMITS = Limits()


@dataclass(frozen=True)
class SensorFacts:
    """What is known of a sensor now. Values and limits in `unit`; `judged` when a baseline or a model watches it."""

    name: str
    unit: str
    limits: Limits = NO_LIMITS
    machine_class: str = ""
    latest_at: datetime | None = None
    latest: float | None = None
    interval_seconds: float = 0.0
    judged: bool = False
    faulty: bool = False
    incomplete: bool = False
    has_limit_alert: bool = False

    def is_fresh(self, now: datetime) -> bool:
        usual = timedelta(seconds=FRESH_INTERVALS * self.interval_seconds)
        return self.latest_at is not None and now - self.latest_at <= max(FRESH, usual)


@dataclass(frozen=True)
class AlertFacts:
    title: str
    severity: Severity
    began_at: datetime


@dataclass
class Facts:
    """What speaks for and against an asset. `doubted_models` are unresolved alerts about drift or a model."""

    sensors: list[SensorFacts] = field(default_factory=list)
    alerts: list[AlertFacts] = field(default_factory=list)
    anomalies: int = 0
    overdue: list[datetime] = field(default_factory=list)
    failures: int = 0
    doubted_models: int = 0


@dataclass(frozen=True)
class Contributor:
    """Something that speaks against an asset; `deduction` in points of 100."""

    group: str
    deduction: float
    sentence: str


@dataclass(frozen=True)
class Health:
    """`score` from 0 to 100, None when it is unknown for the reason `why`; `coverage` is the share of sensors that are
    watched now: in order, fresh, and with a baseline or a model.
    """

    score: int | None
    coverage: float
    covered: int
    sensors: int
    contributors: tuple[Contributor, ...]
    why: str = ""

    @property
    def state(self) -> str:
        """good, fair, poor or unknown."""
        if self.score is None:
            return "unknown"
        return "good" if self.score >= GOOD_FROM else "fair" if self.score >= FAIR_FROM else "poor"


def assess(facts: Facts, now: datetime) -> Health:
    """The health of an asset of which these facts are known."""
    found = [_capped(group) for group in _groups(facts, now)]
    contributors = sorted((one for group in found for one in group), key=lambda one: -one.deduction)
    covered = sum(each.is_fresh(now) and each.judged and not each.faulty for each in facts.sensors)
    coverage = covered / len(facts.sensors) if facts.sensors else 0.0
    why = _unknown(facts, coverage, now)
    score = None if why else max(0, round(100 - sum(one.deduction for one in contributors)))
    return Health(score, coverage, covered, len(facts.sensors), tuple(contributors), why)


def _unknown(facts: Facts, coverage: float, now: datetime) -> str:
    """Why no number can be given; empty when one can."""
    if not facts.sensors:
        return "It has no sensors of its own."
    if not any(sensor.is_fresh(now) for sensor in facts.sensors):
        return "None of its sensors has sent anything lately."
    if coverage < LEAST_COVERAGE:
        return f"Only {100 * coverage:.0f} % of its sensors are watched now; {100 * LEAST_COVERAGE:.0f} % are needed."
    return ""


def _groups(facts: Facts, now: datetime) -> Iterable[list[Contributor]]:
    yield [_of_alert(alert, now) for alert in facts.alerts]
    yield _counted("anomalies", ANOMALY, facts.anomalies, "credible anomaly", "credible anomalies", ANOMALIES_WITHIN)
    yield [one for sensor in facts.sensors if (one := _of_value(sensor, now))]
    yield [one for sensor in facts.sensors if (one := _of_instrument(sensor))]
    yield [_of_order(due, now) for due in facts.overdue]
    yield _counted("failures", FAILURE, facts.failures, "fault found", "faults found", FAILURES_WITHIN)
    if facts.doubted_models:
        yield [Contributor("model", DOUBTED_MODEL, "An alert says that what watches it may not fit any more.")]


def _capped(group: list[Contributor]) -> list[Contributor]:
    """The group with its deductions scaled down to what it may count for."""
    total = sum(one.deduction for one in group)
    most = MOST.get(group[0].group, total) if group else total
    scale = min(1.0, most / total) if total else 1.0
    return [Contributor(one.group, round(one.deduction * scale, 1), one.sentence) for one in group]


def _counted(group: str, each: float, count: int, one: str, many: str, within: timedelta) -> list[Contributor]:
    said = f"{count} {one if count == 1 else many} in the last {within.days} days."
    return [Contributor(group, each * count, said)] if count else []


def _of_alert(alert: AlertFacts, now: datetime) -> Contributor:
    lasts = now - alert.began_at > LASTING
    deduction = ALERT[alert.severity] * (LASTING_FACTOR if lasts else 1)
    for_long = ", for more than a day" if lasts else ""
    return Contributor("alerts", deduction, f"{alert.severity.label.capitalize()} alert{for_long}: {alert.title}")


def _of_value(sensor: SensorFacts, now: datetime) -> Contributor | None:
    """What the newest value says, unless an alert says so already or the value cannot be relied on."""
    if sensor.latest is None or sensor.has_limit_alert or sensor.faulty or not sensor.is_fresh(now):
        return None
    said = f"{sensor.name} at {measured(sensor.latest, sensor.unit)}"
    if sensor.machine_class in zones.MACHINE_CLASSES and not any(limit is not None for limit in sensor.limits):
        zone = zones.MACHINE_CLASSES[sensor.machine_class].zone(sensor.latest)
        return Contributor("values", ZONE[zone], f"{said}: zone {zone} of ISO 20816.") if zone in ZONE else None
    deduction, place = _place(sensor.latest, sensor.limits)
    return Contributor("values", deduction, f"{said}: {place}.") if place else None


def _place(value: float, limits: Limits) -> tuple[float, str]:
    """Where a value lies among its limits: the deduction and the words, none when it is far from all of them."""
    low, high = limits.alarm_low, limits.alarm_high
    if (low is not None and value < low) or (high is not None and value > high):
        return BEYOND_ALARM, "beyond the limit to alarm at"
    if (limits.warn_low is not None and value < limits.warn_low) or (
        limits.warn_high is not None and value > limits.warn_high
    ):
        return BEYOND_WARN, "beyond the limit to warn at"
    for warn, alarm in ((limits.warn_low, low), (limits.warn_high, high)):
        first = alarm if warn is None else warn
        if first is None:
            continue
        margin = NEAR * (abs(alarm - warn) if alarm is not None and warn is not None else abs(first))
        if abs(value - first) <= margin:
            return NEAR_LIMIT, "close to a limit"
    return 0.0, ""


def _of_instrument(sensor: SensorFacts) -> Contributor | None:
    if sensor.faulty:
        return Contributor("sensors", FAULTY, f"{sensor.name} cannot be relied on.")
    return Contributor("sensors", DOUBTED, f"{sensor.name} misses readings.") if sensor.incomplete else None


def _of_order(due: datetime, now: datetime) -> Contributor:
    late = now - due
    days = f"{late.days} day{'' if late.days == 1 else 's'}" if late.days else "hours"
    return Contributor("work", LONG_OVERDUE if late > LONG else OVERDUE, f"A work order has been overdue for {days}.")

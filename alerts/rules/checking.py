"""New readings held against limits and rules: the consumer "limits" of the outbox.

One statement asks for all sensors at once which of them need a closer look: those with a reading beyond a limit, and
those of which something is written down that the new readings may change. Usually that is none.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from django.conf import settings
from django.db import connection
from django.db.models import Prefetch, Q
from numpy.typing import NDArray

from alerts.models import Condition, Firing, Rule
from alerts.rules import definition as definitions
from alerts.rules import recording
from alerts.rules.definition import Definition
from alerts.rules.evaluation import Held, peak_again
from alerts.rules.joining import Recorded, settle, window
from sensors import history, outbox
from sensors.arrays import Bigints, Timestamps, any_of, numpy_cursor
from sensors.checks import SPAN_GAP_US
from sensors.history import Series, Span
from sensors.models import ReadingBatch, Sensor
from sensors.outbox import Stretches

GAP = """make_interval(secs => coalesce(
    greatest(%(intervals)s * l.cadence_seconds, %(least_gap)s), %(usual_gap)s
))"""
BEYOND = "(r.value > least(c.warn_high, c.alarm_high) OR r.value < greatest(c.warn_low, c.alarm_low))"
# ruff: noqa: S608 - what is put into the statements are the two texts above
SENSORS = f"""
    SELECT coalesce(array_agg(s.number - 1), '{{}}')
    FROM unnest(%(sensors)s, %(firsts)s, %(lasts)s) WITH ORDINALITY AS s(sensor, first, last, number)
    JOIN sensors_sensor c ON c.id = s.sensor AND c.status = 'active' AND (
        c.alarm_low IS NOT NULL OR c.warn_low IS NOT NULL OR c.warn_high IS NOT NULL OR c.alarm_high IS NOT NULL
    )
    CROSS JOIN LATERAL (SELECT c.cadence_seconds) AS l
    WHERE EXISTS (
        SELECT FROM sensors_reading r
        WHERE r.sensor_id = s.sensor AND r.timestamp BETWEEN s.first AND s.last
            AND r.quality >= %(quality)s AND {BEYOND}
    ) OR EXISTS (
        SELECT FROM alerts_firing f
        WHERE f.rule_id IS NULL AND f.sensor_id = s.sensor AND f.end >= s.first - {GAP} AND f.start <= s.last
    )
"""
WITH_SENSORS = """
    SELECT coalesce(array_agg(c.rule_id), '{}'), coalesce(array_agg(c.sensor_id), '{}')
    FROM alerts_condition c JOIN alerts_rule r ON r.id = c.rule_id AND r.enabled AND r.removed_at IS NULL
    WHERE c.sensor_id = ANY(%s)
"""
# A condition of a rule may be met by what its sensor said before, for a gap.
RULES = f"""
    SELECT coalesce(array_agg(s.number - 1), '{{}}')
    FROM unnest(%(rules)s, %(firsts)s, %(lasts)s) WITH ORDINALITY AS s(rule, first, last, number)
    JOIN alerts_rule ON alerts_rule.id = s.rule
    CROSS JOIN LATERAL (
        SELECT bool_or(met) AS any_met, bool_and(met) AS all_met, max(gap) AS gap
        FROM (
            SELECT {GAP} AS gap, EXISTS (
                SELECT FROM sensors_reading r
                WHERE r.sensor_id = c.sensor_id AND r.timestamp BETWEEN s.first - {GAP} AND s.last
                    AND r.quality >= %(quality)s AND {BEYOND}
            ) AS met
            FROM alerts_condition c JOIN sensors_sensor l ON l.id = c.sensor_id
            WHERE c.rule_id = s.rule
        ) AS each
    ) AS together
    WHERE CASE WHEN alerts_rule.combination = 'all' THEN together.all_met ELSE together.any_met END OR EXISTS (
        SELECT FROM alerts_firing f
        WHERE f.rule_id = s.rule AND f.end >= s.first - together.gap AND f.start <= s.last
    )
"""


@dataclass(frozen=True)
class Case:
    """A definition to look at again, whose it is, and where it has new readings (microseconds UTC, inclusive)."""

    definition: Definition
    of: Sensor | Rule
    first: int
    last: int

    @property
    def spans(self) -> list[Span]:
        return [Span(condition.sensor, self.first, self.last) for condition in self.definition.conditions]


def check(batches: list[ReadingBatch]) -> None:
    """Raise, bring up to date or record the alerts of limits that these batches, all of one mode, are beyond."""
    stretches = outbox.stretches(batches)
    with connection.cursor() as cursor:
        # One at a time: what one worker writes down the next one goes on from.
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('limits of readings', 0))")
    cases = [*_of_sensors(stretches), *_of_rules(stretches)]
    if not cases:
        return
    historical = batches[0].mode == ReadingBatch.Mode.HISTORY
    firings = _written_down(cases)
    went_on: list[Firing] = []
    for case, begin, end, series in _with_readings(cases):
        known = firings.setdefault(case.definition.digest, {})
        recorded = [Recorded(key, held_of(case.definition, firing)) for key, firing in known.items()]
        settled = settle(case.definition, begin, end, recorded, partial(_read, case.definition, begin, end, series))
        before = [known.pop(row.key) for row in settled.replaced]
        for firing in recording.replace(case.of, case.definition, before, settled.found, historical, went_on):
            known[firing.pk] = firing
    recording.save_ends(went_on)


def held_of(definition: Definition, firing: Firing) -> Held:
    """A stretch as it was written down."""
    start, end, peak_at = (us(at) for at in (firing.start, firing.end, firing.peak_at))
    peak = peak_again(definition, peak_at, firing.peak_value, firing.sensor_id)
    return Held(start, end, peak, us(firing.alarm_at) if firing.alarm_at else None)


def _of_sensors(stretches: Stretches) -> Iterable[Case]:
    """Sensors that have limits of their own and need a closer look."""
    with numpy_cursor() as cursor:
        cursor.execute(
            SENSORS,
            {
                "sensors": Bigints(stretches.sensors),
                "firsts": Timestamps(stretches.firsts),
                "lasts": Timestamps(stretches.lasts),
                **_settings(),
            },
            prepare=True,
        )
        [(numbers,)] = cursor.fetchall()
    numbers = np.sort(numbers)
    sensors = Sensor.objects.select_related("asset__site").in_bulk(set(stretches.sensors[numbers].tolist()))
    defined = {pk: definitions.of_sensor(sensor) for pk, sensor in sensors.items()}
    columns = (column[numbers].tolist() for column in stretches)
    return [Case(defined[pk], sensors[pk], first, last) for pk, first, last in zip(*columns, strict=True)]


def _settings() -> dict[str, float]:
    return {
        "quality": settings.QUALITY_THRESHOLD,
        "intervals": definitions.GAP_INTERVALS,
        "least_gap": definitions.LEAST_GAP_SECONDS,
        "usual_gap": definitions.GAP_SECONDS,
    }


def _of_rules(stretches: Stretches) -> Iterable[Case]:
    """Rules with a sensor that has new readings and that need a closer look."""
    with numpy_cursor() as cursor:
        cursor.execute(WITH_SENSORS, [Bigints(np.unique(stretches.sensors))], prepare=True)
        [pairs] = cursor.fetchall()
    if not len(pairs[0]):
        return []
    rules, firsts, lasts = _merged(pairs, stretches)
    with numpy_cursor() as cursor:
        given = {"rules": Bigints(rules), "firsts": Timestamps(firsts), "lasts": Timestamps(lasts)}
        cursor.execute(RULES, {**given, **_settings()})
        [(numbers,)] = cursor.fetchall()
    numbers = np.sort(numbers)
    wanted = Rule.objects.select_related("asset__site").prefetch_related(
        Prefetch("conditions", Condition.objects.select_related("sensor"))
    )
    found = wanted.in_bulk(set(rules[numbers].tolist()))
    defined = {pk: definitions.of_rule(rule, list(rule.conditions.all())) for pk, rule in found.items()}
    columns = (column[numbers].tolist() for column in (rules, firsts, lasts))
    return [
        Case(defined[pk], found[pk], first, last)
        for pk, first, last in zip(*columns, strict=True)
        if all(condition.sensor.status == Sensor.Status.ACTIVE for condition in found[pk].conditions.all())
    ]


def _merged(pairs: Sequence[NDArray[np.int64]], stretches: Stretches) -> tuple[NDArray[np.int64], ...]:
    """Where each rule has new readings of any of its sensors; stretches that touch are one."""
    found: list[tuple[int, int, int]] = []
    for rule in np.unique(pairs[0]).tolist():
        own = np.isin(stretches.sensors, pairs[1][pairs[0] == rule])
        for first, last in sorted(zip(stretches.firsts[own].tolist(), stretches.lasts[own].tolist(), strict=True)):
            if found and found[-1][0] == rule and first <= found[-1][2] + SPAN_GAP_US:
                found[-1] = (rule, found[-1][1], max(last, found[-1][2]))
            else:
                found.append((rule, first, last))
    rules, firsts, lasts = np.array(found, np.int64).T
    return rules, firsts, lasts


def _written_down(cases: Sequence[Case]) -> dict[str, dict[int, Firing]]:
    """What is known of each definition, by its digest, from its first new reading on, by key."""
    since: dict[str, int] = {}
    for case in cases:
        begin = case.first - _reach(case.definition)
        since[case.definition.digest] = min(begin, since.get(case.definition.digest, begin))
    sensors = [case.of.pk for case in cases if isinstance(case.of, Sensor)]
    rules = [case.of.pk for case in cases if isinstance(case.of, Rule)]
    rows = Firing.objects.filter(Q(rule=None, sensor__in=any_of(sensors)) | Q(rule__in=any_of(rules)))
    rows = rows.filter(end__gte=recording.at(min(since.values())))
    found: dict[str, dict[int, Firing]] = {}
    for firing in rows.select_related("alert"):
        if firing.definition in since and us(firing.end) >= since[firing.definition]:
            found.setdefault(firing.definition, {})[firing.pk] = firing
    return found


def _reach(definition: Definition) -> int:
    """How long before a reading the window of `window` can begin."""
    return definition.duration_us + max(condition.gap_us for condition in definition.conditions)


def _with_readings(cases: Sequence[Case]) -> Iterable[tuple[Case, int, int, list[Series]]]:
    """Each case with its window and the readings in it: two statements for all of them."""
    asked = [span for case in cases for span in case.spans]
    before, after = history.reaches(asked, 1)
    windows: list[tuple[int, int]] = []
    place = 0
    for case in cases:
        part = slice(place, place + len(case.spans))
        windows.append(window(case.definition, case.first, case.last, before[part].tolist(), after[part].tolist()))
        place = part.stop
    wanted = [
        Span(span.sensor, begin, end) for case, (begin, end) in zip(cases, windows, strict=True) for span in case.spans
    ]
    read = iter(history.spans(wanted, context=1))
    for case, (begin, end) in zip(cases, windows, strict=True):
        yield case, begin, end, [next(read) for _ in case.spans]


def _read(
    definition: Definition, known_begin: int, known_end: int, known: list[Series], begin: int, end: int
) -> Sequence[Series]:
    if (begin, end) == (known_begin, known_end):
        return known
    return list(history.spans([Span(each.sensor, begin, end) for each in definition.conditions], context=1))


us = recording.us

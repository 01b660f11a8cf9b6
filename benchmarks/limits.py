"""What it costs to hold readings against limits, beside scoring them: a thousand sensors read once a second.

As in `benchmarks.scoring`, one process does the work beside PostgreSQL, and its cost is counted in CPU time. Ten of the
sensors leave their normal level for 20 seconds, beyond the limit to alarm at.
"""

import time
from datetime import timedelta
from typing import Any

from benchmarks.ingest import row
from benchmarks.scoring import FILL, READINGS, Fleet, _cost, servers, spent

SENSORS = 1000
# Scoring takes about 1.3 us a reading; what most readings need none of must not cost much beside it.
GOAL_US = 0.5
# Somebody waits for it.
BACKTEST_SECONDS = 5.0


def drain() -> None:
    from sensors import outbox

    while outbox.drain("limits"):
        pass


def cost_of(fleet: Fleet) -> float:
    """Microseconds of CPU a reading, worker and database, in as large pieces as a backlog makes."""
    fleet.store(0, fleet.readings)
    return _cost(spent(drain), 0.0, fleet.readings)


def cost_of_seconds(fleet: Fleet, seconds: int) -> float:
    """The same when every second's readings of all sensors are a piece of their own."""
    total, count = 0.0, len(fleet.pks)
    for second in range(seconds):
        fleet.store(second * count, (second + 1) * count)
        total += _cost(spent(drain), 0.0, 1)
    return total / (seconds * count)


def seconds_of_backtest() -> float:
    """By the clock: two sensors of one asset, read once in ten seconds for 58 days, as the form tries them."""
    from django.contrib.auth.models import User
    from django.db import connection

    from alerts.rules import definition as definitions
    from alerts.rules.backtest import MOST_READINGS, backtest
    from sensors.models import Limits, Sensor

    fleet = Fleet("past", 2, MOST_READINGS)
    with connection.cursor() as cursor:
        past = timedelta(seconds=10 * MOST_READINGS // 2 - 10)
        cursor.execute(FILL, [fleet.pks, fleet.start - past, fleet.start, timedelta(seconds=10)])
        cursor.execute("ANALYZE sensors_reading")
    conditions = tuple(
        definitions.condition(sensor, Limits(warn_high=20.5)) for sensor in Sensor.objects.filter(pk__in=fleet.pks)
    )
    rule = definitions.Definition(conditions, duration_us=10 * definitions.SECOND_US)
    user = User.objects.create(username="engineer")
    begin = time.perf_counter()
    found = backtest(rule, fleet.start - timedelta(days=90), fleet.start, user.pk)
    seconds = time.perf_counter() - begin
    assert found.readings == MOST_READINGS, found.readings
    assert found.count > 0
    return seconds


def run() -> list[dict[str, Any]]:
    from django.test import override_settings

    with servers():
        from alerts.models import Firing
        from sensors.models import Sensor

        consumers = {"limits": "alerts.rules.checking.check"}
        with override_settings(OUTBOX_CONSUMERS=consumers, LATE_AFTER_SECONDS=10**7):
            cost_of(Fleet("first", 10, 10_000))
            plain = cost_of(Fleet("plain", SENSORS, READINGS))
            limited = Fleet("limited", SENSORS, READINGS)
            Sensor.objects.filter(pk__in=limited.pks).update(warn_high=30, alarm_high=40, cadence_seconds=1)
            inside = cost_of(limited)
            assert Firing.objects.count() == 0, "20 seconds are less than a minute."
            steady = Fleet("steady", SENSORS, 100 * SENSORS)
            Sensor.objects.filter(pk__in=steady.pks).update(warn_high=30, alarm_high=40, cadence_seconds=1)
            by_seconds = cost_of_seconds(steady, 50)
            beyond = Fleet("beyond", SENSORS, 100 * SENSORS)
            beyond.start -= timedelta(hours=1)
            Sensor.objects.filter(pk__in=beyond.pks[:100]).update(warn_high=0, cadence_seconds=1)
            exceeded = cost_of_seconds(beyond, 90)
            assert Firing.objects.count() == 100
            tried = seconds_of_backtest()
    return [
        row("limits, 1,000 sensors without any, CPU a reading", plain, "us", None, True),
        row("  all with limits, backlog", inside, "us", GOAL_US, inside <= GOAL_US),
        row("  all with limits, a second's readings at once", by_seconds, "us", None, True),
        row("  100 of them beyond all the time", exceeded, "us", None, True),
        row("a rule tried on 1,000,000 readings", tried, "s", BACKTEST_SECONDS, tried <= BACKTEST_SECONDS),
    ]

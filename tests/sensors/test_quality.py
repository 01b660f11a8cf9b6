from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensors import lookup
from sensors.columns import Columns
from sensors.ingest import Stored, store_batch
from sensors.models import QualityPolicy, Reading, ReadingBatch, Sensor, SensorProfile
from sensors.quality import CEILINGS, Flag, Limits, assess, nothing_known
from tests.conftest import Plant

NOW = datetime.now(UTC).replace(microsecond=0)
SECOND = timedelta(seconds=1)


@pytest.fixture
def sensor(north: Plant) -> Sensor:
    """A sensor that usually sends every second, with a noise of 0.1."""
    about = {"cadence_seconds": 1.0, "noise": 0.1, "repeat_share": 0.0, "readings": 500}
    SensorProfile.objects.create(sensor=north.temperature, **about)
    return north.temperature


def send(sensor: Sensor, values: list[float], start: datetime, step: timedelta = SECOND, **options: Any) -> Stored:
    times = [round((start + n * step).timestamp() * 1e6) for n in range(len(values))]
    count = len(values)
    columns = Columns(
        sensor_ids=[sensor.sensor_id],
        codes=np.zeros(count, np.int64),
        timestamps=np.array(times, np.int64),
        values=np.array(values, np.float64),
        qualities=np.ones(count),
        unit_names=[],
        units=np.full(count, -1),
        indexes=np.arange(count),
    )
    return store_batch(columns, source="test", **options)


def flags(sensor: Sensor) -> list[Flag]:
    return [Flag(row.flags) for row in Reading.objects.filter(sensor=sensor).order_by("timestamp")]


def qualities(sensor: Sensor) -> list[float]:
    return list(Reading.objects.filter(sensor=sensor).order_by("timestamp").values_list("quality", flat=True))


def limit(sensor: Sensor, **fields: Any) -> None:
    Sensor.objects.filter(pk=sensor.pk).update(**fields)
    lookup.forget()


def test_a_value_outside_the_physical_range_is_worth_nothing(sensor: Sensor) -> None:
    limit(sensor, range_low=0, range_high=100)
    send(sensor, [20, 101, 20.1], NOW - 60 * SECOND)
    assert flags(sensor)[1] & Flag.OUT_OF_RANGE
    assert qualities(sensor) == [1.0, 0.0, 1.0]


def test_a_change_faster_than_the_sensor_can_is_doubted_also_across_batches(sensor: Sensor) -> None:
    limit(sensor, max_rate=2)
    send(sensor, [20, 21], NOW - 60 * SECOND)
    send(sensor, [25, 26], NOW - 58 * SECOND)
    assert flags(sensor) == [Flag(0), Flag(0), Flag.RATE, Flag(0)]
    assert qualities(sensor)[2] == CEILINGS[Flag.RATE]


def test_a_sensor_that_repeats_itself_is_stuck_from_the_twentieth_time_on(sensor: Sensor) -> None:
    send(sensor, [20.5] * 12, NOW - 60 * SECOND)
    send(sensor, [20.5] * 10 + [20.7], NOW - 48 * SECOND)
    assert [bool(flag & Flag.STUCK) for flag in flags(sensor)] == [False] * 19 + [True] * 3 + [False]


def test_repeats_are_counted_reading_by_reading_too(sensor: Sensor) -> None:
    for number in range(21):
        send(sensor, [20.5], NOW - (60 - number) * SECOND)
    assert [bool(flag & Flag.STUCK) for flag in flags(sensor)] == [False] * 19 + [True] * 2


def test_a_machine_at_rest_is_not_a_stuck_sensor(sensor: Sensor) -> None:
    send(sensor, [0.0] * 40, NOW - 60 * SECOND)
    assert not any(flag & Flag.STUCK for flag in flags(sensor))


def test_a_switch_that_repeats_itself_by_nature_is_not_stuck(sensor: Sensor) -> None:
    SensorProfile.objects.update(repeat_share=0.9)
    lookup.forget()
    send(sensor, [1.0] * 40, NOW - 60 * SECOND)
    assert not any(flag & Flag.STUCK for flag in flags(sensor))


def test_a_lone_reading_far_off_its_neighbours_is_a_spike(sensor: Sensor) -> None:
    send(sensor, [20, 20.1, 35, 20, 20.1], NOW - 60 * SECOND)
    assert flags(sensor)[2] == Flag.SPIKE
    assert qualities(sensor) == [1, 1, CEILINGS[Flag.SPIKE], 1, 1]


def test_a_spike_at_the_end_of_a_batch_is_found_when_the_next_one_comes(sensor: Sensor) -> None:
    send(sensor, [20, 20.1, 35], NOW - 60 * SECOND)
    assert qualities(sensor)[2] == 1
    send(sensor, [20.1], NOW - 57 * SECOND)
    assert flags(sensor) == [Flag(0), Flag(0), Flag.SPIKE, Flag(0)]
    assert qualities(sensor)[2] == CEILINGS[Flag.SPIKE]


def test_a_repeat_with_another_value_cannot_make_a_stored_reading_a_spike(sensor: Sensor) -> None:
    send(sensor, [60, 80, 80.1], NOW - 60 * SECOND)
    assert send(sensor, [60], NOW - 58 * SECOND).duplicates == 1
    assert qualities(sensor) == [1.0, 1.0, 1.0]


def test_a_reading_marked_down_later_is_summed_up_and_scored_again(sensor: Sensor) -> None:
    spiked_at = NOW - timedelta(hours=1, minutes=5)
    send(sensor, [20, 20.1, 35], spiked_at - 2 * SECOND, mode=ReadingBatch.Mode.HISTORY)
    stored = send(sensor, [20.1], NOW - 60 * SECOND)
    batch = ReadingBatch.objects.get(pk=stored.batch_id)
    assert batch.firsts == [spiked_at]


def test_a_lasting_change_is_no_spike_for_it_may_be_the_machine(sensor: Sensor) -> None:
    send(sensor, [20, 20.1, 35, 35.1, 35, 35.2], NOW - 60 * SECOND)
    assert qualities(sensor) == [1.0] * 6


def test_a_pause_is_remarked_and_costs_nothing(sensor: Sensor) -> None:
    send(sensor, [20, 20.1], NOW - 60 * SECOND, 10 * SECOND)
    assert flags(sensor) == [Flag(0), Flag.GAP]
    assert qualities(sensor) == [1.0, 1.0]


def test_late_and_out_of_order_readings_say_so(sensor: Sensor) -> None:
    send(sensor, [20], NOW)
    send(sensor, [20], NOW - timedelta(hours=2))
    send(sensor, [20.1], NOW - 30 * SECOND)
    late, between, _newest = flags(sensor)
    assert late & Flag.LATE
    assert late & Flag.OUT_OF_ORDER
    assert between & Flag.OUT_OF_ORDER
    assert not between & Flag.LATE


def test_history_is_neither_late_nor_out_of_order(sensor: Sensor) -> None:
    send(sensor, [20], NOW)
    send(sensor, [20], NOW - timedelta(hours=2), mode=ReadingBatch.Mode.HISTORY)
    assert flags(sensor)[0] == Flag(0)


def test_a_clock_that_runs_ahead_is_seen_and_its_readings_still_count(sensor: Sensor) -> None:
    send(sensor, [20], datetime.now(UTC) + 100 * SECOND)
    assert flags(sensor)[0] & Flag.FUTURE
    assert flags(sensor)[0] & Flag.CLOCK_SKEW
    assert qualities(sensor)[0] == pytest.approx(0.9)


def test_a_reading_sent_twice_with_different_values_is_marked(sensor: Sensor) -> None:
    send(sensor, [20, 21], NOW - 60 * SECOND, timedelta(0))
    assert flags(sensor) == [Flag.DUPLICATE]


def test_every_limit_of_a_site_can_be_switched_off(sensor: Sensor) -> None:
    limit(sensor, range_high=30, max_rate=1)
    QualityPolicy.objects.create(
        site=sensor.site,
        check_range=False,
        check_rate=False,
        stuck_repeats=None,
        spike_factor=None,
        gap_factor=None,
        clock_ahead_seconds=None,
    )
    send(sensor, [20, 20, 50, 20] + [20] * 30, NOW - 60 * SECOND)
    send(sensor, [99], NOW)
    assert set(flags(sensor)) == {Flag(0)}


def test_without_a_profile_only_what_is_stated_is_checked(north: Plant) -> None:
    send(north.temperature, [20, 20, 500] + [20] * 40, NOW - 60 * SECOND)
    assert set(flags(north.temperature)) == {Flag(0)}


values = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30)


@given(values, st.floats(0, 1), st.tuples(*[st.one_of(st.just(float("nan")), st.floats(0, 1e6))] * len(Limits._fields)))
def test_quality_never_rises_above_what_the_sender_claims_and_stays_between_0_and_1(
    values: list[float], claimed: float, limits: tuple[float, ...]
) -> None:
    count = len(values)
    found = assess(
        np.zeros(count, np.int64),
        np.arange(count) * 1_000_000,
        np.array(values),
        np.full(count, claimed),
        limits=np.array([limits]),
        context=nothing_known(1),
        contradicted=np.zeros(count, bool),
        now_us=0,
        late_before_us=0,
    )
    assert ((found.qualities >= 0) & (found.qualities <= claimed)).all()
    assert len(found.flags) == count

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import pytest
from django.conf import settings
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from sensors.access import Sender
from sensors.formats import json
from sensors.ingest import Stored, store_batch
from sensors.models import Pending, Reading, ReadingBatch, Sensor
from tests.conftest import Plant, make_plant, make_user

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def row(sensor: Sensor | str, value: Any = 20.0, at: datetime | str = NOON, **more: Any) -> dict[str, Any]:
    sensor_id = sensor if isinstance(sensor, str) else sensor.sensor_id
    return {"sensor_id": sensor_id, "timestamp": at, "value": value, **more}


def store(*rows: dict[str, Any], **options: Any) -> Stored:
    return store_batch(json.parse(msgspec.json.encode(rows)), source="test", **options)


def codes(stored: Stored) -> list[tuple[int, str]]:
    return [(rejection.index, rejection.code) for rejection in stored.rejected]


def test_a_stored_reading_is_what_was_sent(north: Plant) -> None:
    at = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
    store(row(north.temperature, 21.5, at, quality=0.9))
    reading = Reading.objects.get()
    assert (reading.sensor, reading.timestamp, reading.value, reading.quality) == (north.temperature, at, 21.5, 0.9)


def test_a_batch_leaves_one_piece_of_work_per_consumer_and_the_span_of_each_sensor(north: Plant) -> None:
    later = NOON + timedelta(minutes=5)
    stored = store(row(north.vibration, at=later), row(north.temperature), row(north.vibration))
    batch = ReadingBatch.objects.get(pk=stored.batch_id)
    spans = dict(zip(batch.sensors, zip(batch.firsts, batch.lasts, strict=True), strict=True))
    assert spans == {north.temperature.pk: (NOON, NOON), north.vibration.pk: (NOON, later)}
    work = [(stored.batch_id, consumer, False) for consumer in settings.OUTBOX_CONSUMERS]
    assert list(Pending.objects.values_list("batch", "consumer", "live")) == work


def test_the_first_value_wins_within_a_batch_and_across_batches(north: Plant) -> None:
    first = store(row(north.temperature, 1.0), row(north.temperature, 2.0))
    second = store(row(north.temperature, 3.0))
    assert (first.accepted, first.duplicates) == (1, 1)
    assert (second.accepted, second.duplicates, second.batch_id) == (0, 1, None)
    assert Reading.objects.get().value == 1.0


def test_good_rows_are_stored_beside_refused_ones(north: Plant) -> None:
    ahead = timezone.now() + timedelta(days=1)
    stored = store(
        row("nobody"),
        row(north.temperature),
        row(north.temperature, at=ahead),
        row(north.temperature, at="2026-03-01T12:00:00"),
        row(north.temperature, "warm"),
        row(north.temperature, quality=7),
        row(north.temperature, unit="parsec"),
        row(north.temperature, unit="mm/s"),
        {"sensor_id": north.temperature.sensor_id, "value": 1},
        row(north.temperature, at="1970-01-01T00:05:00Z"),
        row("nobody\0"),
        row(north.temperature, 1e16),
    )
    assert stored.accepted == 1
    assert codes(stored) == [
        (0, "unknown_sensor"),
        (2, "timestamp_in_future"),
        (3, "naive_timestamp"),
        (4, "invalid_value"),
        (5, "invalid_quality"),
        (6, "unknown_unit"),
        (7, "unit_mismatch"),
        (8, "missing_field"),
        (9, "timestamp_too_old"),
        (10, "unknown_sensor"),
        (11, "value_out_of_bounds"),
    ]


def test_a_value_in_another_unit_of_the_same_dimension_is_converted(north: Plant) -> None:
    store(row(north.temperature, 212, unit="°F"), row(north.vibration, 1, unit="in/s"))
    assert Reading.objects.get(sensor=north.temperature).value == pytest.approx(100)
    assert Reading.objects.get(sensor=north.vibration).value == pytest.approx(25.4)


def test_a_value_outside_the_physical_range_is_stored_with_quality_zero(north: Plant) -> None:
    Sensor.objects.filter(pk=north.temperature.pk).update(range_low=-40, range_high=150)
    store(row(north.temperature, 149, NOON), row(north.temperature, 151, NOON + timedelta(seconds=1)))
    assert list(Reading.objects.order_by("timestamp").values_list("quality", flat=True)) == [1.0, 0.0]


def test_a_retired_sensor_takes_no_readings(north: Plant) -> None:
    Sensor.objects.filter(pk=north.temperature.pk).update(status=Sensor.Status.RETIRED)
    assert codes(store(row(north.temperature))) == [(0, "sensor_retired")]


def test_sensors_of_other_sites_count_as_unknown(north: Plant, south: Plant) -> None:
    engineer = make_user("engineer", north.site)
    stored = store(row(north.temperature), row(south.temperature), sender=Sender(user=engineer))
    assert (stored.accepted, codes(stored)) == (1, [(1, "unknown_sensor")])


def test_late_rows_of_a_live_batch_become_history_beside_it(north: Plant) -> None:
    now = timezone.now()
    stored = store(row(north.temperature, at=now), row(north.temperature, at=now - timedelta(hours=2)))
    assert stored.accepted == 2
    assert list(ReadingBatch.objects.order_by("pk").values_list("mode", "accepted")) == [("live", 1), ("history", 1)]
    assert stored.batch_id == ReadingBatch.objects.get(mode="live").pk


def test_two_readings_far_apart_do_not_stand_for_the_time_between(north: Plant) -> None:
    year_ago = NOON - timedelta(days=365)
    store(row(north.temperature), row(north.temperature, at=year_ago))
    batch = ReadingBatch.objects.get()
    assert (batch.firsts, batch.lasts) == ([year_ago, NOON], [year_ago, NOON])


def test_history_is_marked_as_such(north: Plant) -> None:
    stored = store(row(north.temperature), mode=ReadingBatch.Mode.HISTORY)
    assert not Pending.objects.filter(batch=stored.batch_id, live=True).exists()


class StoredSet(TestCase):
    """The invariant of ingest, on batches nobody thought of."""

    @classmethod
    def setUpTestData(cls) -> None:
        cls.plant = make_plant("Property")

    batches = st.lists(
        st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5), st.floats(-1e6, 1e6)), max_size=12),
        max_size=5,
    )

    @given(batches)
    def test_stored_is_the_set_of_accepted_keys_and_the_first_value_wins(self, batches: list[Any]) -> None:
        sensors = [self.plant.temperature.sensor_id, self.plant.vibration.sensor_id, "nobody"]
        expected: dict[tuple[str, datetime], float] = {}
        for batch in batches:
            rows = [row(sensors[s], value, NOON + timedelta(seconds=second)) for s, second, value in batch]
            stored = store(*rows)
            assert stored.accepted + stored.duplicates + len(stored.rejected) == len(batch)
            for sent in rows:
                if sent["sensor_id"] != "nobody":
                    expected.setdefault((sent["sensor_id"], sent["timestamp"]), sent["value"])
        found = Reading.objects.values_list("sensor__sensor_id", "timestamp", "value")
        assert {(sensor, at): value for sensor, at, value in found} == expected


def test_columns_of_any_length_survive_the_way_through_the_database(north: Plant) -> None:
    rng = np.random.default_rng(7)
    values = rng.normal(size=2000)
    store(*[row(north.temperature, float(v), NOON + timedelta(milliseconds=i)) for i, v in enumerate(values)])
    found = np.array(Reading.objects.order_by("timestamp").values_list("value", flat=True))
    assert np.array_equal(found, values)

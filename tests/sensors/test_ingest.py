from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import pytest
from django.conf import LazySettings, settings
from django.db import transaction
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from sensors.access import Sender
from sensors.formats import json, line_protocol
from sensors.ingest import Stored, store_attended, store_batch, store_together
from sensors.models import Correction, Pending, Quarantined, Reading, ReadingBatch, Sensor
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
    work = set(Pending.objects.values_list("batch", "consumer", "live"))
    assert work == {(stored.batch_id, consumer, False) for consumer in settings.OUTBOX_CONSUMERS}


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
    details = {row.code: row.detail for row in stored.rejected}
    assert details["unknown_unit"] == "Unit 'parsec' is not known; known are °C, °F, K."


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
    assert not Pending.objects.filter(live=True, batch=stored.batch_id).exists()


class StoredSet(TestCase):
    """The invariant of ingest, on batches nobody thought of."""

    @classmethod
    def setUpTestData(cls) -> None:
        cls.plant = make_plant("Property")

    rows = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5), st.floats(-1e6, 1e6)), max_size=12)
    # What is sent, and how often the process dies in the middle or the answer is lost before the sender believes it.
    deliveries = st.lists(st.tuples(rows, st.integers(0, 2), st.integers(0, 2)), max_size=5)

    @given(deliveries)
    def test_stored_is_the_set_of_accepted_keys_and_the_first_value_wins(self, deliveries: list[Any]) -> None:
        sensors = [self.plant.temperature.sensor_id, self.plant.vibration.sensor_id, "nobody"]
        expected: dict[tuple[str, datetime], float] = {}
        accepted = 0
        for batch, crashes, lost_answers in deliveries:
            rows = [row(sensors[s], value, NOON + timedelta(seconds=second)) for s, second, value in batch]
            for _ in range(crashes):
                with transaction.atomic():
                    store(*rows)
                    transaction.set_rollback(True)
            for _ in range(1 + lost_answers):
                stored = store(*rows)
                assert stored.accepted + stored.duplicates + len(stored.rejected) == len(batch)
                accepted += stored.accepted
            for sent in rows:
                if sent["sensor_id"] != "nobody":
                    expected.setdefault((sent["sensor_id"], sent["timestamp"]), sent["value"])
        found = Reading.objects.values_list("sensor__sensor_id", "timestamp", "value")
        assert {(sensor, at): value for sensor, at, value in found} == expected
        assert accepted == len(expected)


def test_columns_of_any_length_survive_the_way_through_the_database(north: Plant) -> None:
    rng = np.random.default_rng(7)
    values = rng.normal(size=2000)
    store(*[row(north.temperature, float(v), NOON + timedelta(milliseconds=i)) for i, v in enumerate(values)])
    found = np.array(Reading.objects.order_by("timestamp").values_list("value", flat=True))
    assert np.array_equal(found, values)


def test_refused_rows_wait_in_quarantine_as_they_were_sent(north: Plant) -> None:
    engineer = make_user("engineer", north.site)
    store(
        row(north.temperature, 20, unit="mm/s", quality=0.5),
        row("nobody"),
        row(north.temperature, "warm"),
        row(north.temperature, 1),
        sender=Sender(user=engineer),
    )
    at = "2026-03-01T12:00:00Z"
    kept = {row.code: (row.site, row.payload) for row in Quarantined.objects.all()}
    assert kept == {
        "unit_mismatch": (
            north.site,
            {
                "sensor_id": north.temperature.sensor_id,
                "timestamp": at,
                "value": 20.0,
                "unit": "mm/s",
                "quality": 0.5,
            },
        ),
        "unknown_sensor": (north.site, {"sensor_id": "nobody", "timestamp": at, "value": 20.0}),
        "invalid_value": (
            north.site,
            {"sensor_id": north.temperature.sensor_id, "timestamp": at, "value": "warm"},
        ),
    }


def test_a_refused_row_keeps_the_value_in_the_unit_it_was_sent_in(north: Plant) -> None:
    ahead = timezone.now() + timedelta(hours=2)
    store(row(north.temperature, 212, ahead, unit="°F"), row(north.temperature, 50, unit="°F"))
    payload = Quarantined.objects.get().payload
    assert (payload["value"], payload["unit"]) == (212.0, "°F")
    assert Reading.objects.get().value == pytest.approx(10)


def test_the_same_refused_row_counts_up_and_does_not_pile_up(north: Plant) -> None:
    for _ in range(3):
        store(row("nobody"), row("nobody"))
    assert Quarantined.objects.get().times == 6


def test_whoever_is_there_to_see_a_refusal_leaves_nothing_in_quarantine(north: Plant) -> None:
    sender = Sender(user=make_user("operator", north.site))
    columns = json.parse(msgspec.json.encode([row("nobody"), row(north.temperature)]))
    stored = store_attended(columns, source="manual", sender=sender)
    assert (stored.accepted, codes(stored)) == (1, [(0, "unknown_sensor")])
    assert not Quarantined.objects.exists()


def test_what_nobody_wants_does_not_fill_the_quarantine(north: Plant) -> None:
    Sensor.objects.filter(pk=north.vibration.pk).update(status=Sensor.Status.RETIRED)
    assert codes(store(row(north.vibration))) == [(0, "sensor_retired")]
    text = line_protocol.parse(b'system,sensor_id=a uptime_format="3 days"', "s", timezone.now())
    assert codes(store_batch(text, source="line")) == [(0, "not_a_number")]
    assert not Quarantined.objects.exists()


def test_the_quarantine_of_a_site_is_bounded(north: Plant, settings: LazySettings) -> None:
    settings.QUARANTINE_LIMIT = 2
    for number in range(4):
        assert codes(store(row(f"nobody{number}"))) == [(0, "unknown_sensor")]
    assert Quarantined.objects.count() == 2


def test_texts_that_postgresql_cannot_hold_are_kept_without_the_offending_sign(north: Plant) -> None:
    store(row("no\0body", "wa\0rm"), row("\\u0000"))
    kept = " ".join(str(row.payload) for row in Quarantined.objects.all())
    assert "\0" not in kept
    assert "\\\\u0000" in kept, "An innocent backslash stays."


def test_a_value_can_be_replaced_and_the_old_one_is_kept(north: Plant) -> None:
    engineer = make_user("engineer", north.site)
    later = NOON + timedelta(seconds=1)
    store(row(north.temperature, 1.0), row(north.temperature, 2.0, later))
    Pending.objects.all().delete()
    replaced = store(
        row(north.temperature, 10.0),
        row(north.temperature, 2.0, later),
        row(north.vibration, 5.0),
        sender=Sender(user=engineer),
        on_conflict="replace",
    )
    assert (replaced.accepted, replaced.corrected, replaced.duplicates) == (1, 1, 1)
    assert list(Reading.objects.filter(sensor=north.temperature).order_by("timestamp").values_list("value")) == [
        (10.0,),
        (2.0,),
    ]
    correction = Correction.objects.get()
    assert (correction.old_value, correction.new_value, correction.by) == (1.0, 10.0, engineer)
    batch = ReadingBatch.objects.get(pk=replaced.batch_id)
    assert (batch.accepted, batch.corrected) == (1, 1)
    assert Pending.objects.filter(batch=batch).exists(), "What was corrected is scored again."


def test_requests_that_share_a_transaction_each_get_their_own_answer(north: Plant) -> None:
    sender = Sender(user=make_user("integration", north.site))
    later = NOON + timedelta(seconds=1)
    store(row(north.vibration))
    requests = [
        json.parse(msgspec.json.encode(rows))
        for rows in (
            [row(north.temperature)],
            [row("nobody"), row(north.temperature, at=later)],
            [row(north.temperature), row(north.vibration)],
            [row(north.temperature, "warm")],
            [],
        )
    ]
    first, second, third, fourth, fifth = store_together(requests, source="api", sender=sender)
    assert (first.accepted, first.duplicates, first.rejected) == (1, 0, [])
    assert (second.accepted, second.duplicates, codes(second)) == (1, 0, [(0, "unknown_sensor")])
    assert (third.batch_id, third.accepted, third.duplicates) == (None, 0, 2)
    assert (fourth.accepted, codes(fourth)) == (0, [(0, "invalid_value")])
    assert (fifth.accepted, fifth.duplicates, fifth.rejected) == (0, 0, [])
    assert first.batch_id == second.batch_id == ReadingBatch.objects.latest("pk").pk


def test_lines_that_hold_several_readings_or_none_are_told_apart_in_a_shared_transaction(north: Plant) -> None:
    sender = Sender(user=make_user("integration", north.site))
    temperature, vibration = north.temperature.sensor_id, north.vibration.sensor_id
    bodies = [
        f"# a comment\n\n\nm,sensor_id={temperature} value=1 1\nm,sensor_id=nobody value=1,other=2 1",
        f'm,sensor_id={vibration} value=1,text="no" 2\nnonsense',
        f"# another\nm,sensor_id={temperature} value=1 1",
    ]
    requests = [line_protocol.parse(body.encode(), "s", timezone.now()) for body in bodies]
    for columns in requests:
        columns.timestamps[:] += round(NOON.timestamp() * 1e6)
    first, second, third = store_together(requests, source="line", sender=sender)
    assert (first.accepted, codes(first)) == (1, [(4, "unknown_sensor"), (4, "unknown_sensor")])
    assert (second.accepted, [index for index, _ in codes(second)]) == (1, [0, 1])
    assert (third.accepted, third.duplicates, third.rejected) == (0, 1, [])


class Shared(TestCase):
    """However readings are spread over requests that share a transaction, each row has one fate."""

    @classmethod
    def setUpTestData(cls) -> None:
        cls.plant = make_plant("Shared")
        cls.sender = Sender(user=make_user("integration", cls.plant.site))

    rows = st.tuples(st.integers(0, 2), st.integers(0, 4), st.floats(-1e6, 1e6))

    @given(st.lists(st.lists(rows, max_size=5), min_size=1, max_size=6), st.lists(rows, max_size=3))
    def test_accepted_and_duplicates_and_rejected_make_up_what_was_sent(
        self, requests: list[list[Any]], before: list[Any]
    ) -> None:
        sensors = [self.plant.temperature.sensor_id, self.plant.vibration.sensor_id, "nobody"]

        def parsed(rows: list[Any]) -> Any:
            sent = [row(sensors[s], value, NOON + timedelta(seconds=second)) for s, second, value in rows]
            return json.parse(msgspec.json.encode(sent))

        store_batch(parsed(before), source="test", sender=self.sender)
        stored_before = Reading.objects.count()
        answers = store_together([parsed(rows) for rows in requests], source="test", sender=self.sender)
        for rows, answer in zip(requests, answers, strict=True):
            assert answer.accepted + answer.duplicates + len(answer.rejected) == len(rows)
            assert [bad.index for bad in answer.rejected] == [i for i, (s, *_) in enumerate(rows) if s == 2]
        assert sum(answer.accepted for answer in answers) == Reading.objects.count() - stored_before

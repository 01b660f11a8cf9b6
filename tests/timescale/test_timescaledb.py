"""What only TimescaleDB does, and the whole way of a reading on it."""

import json
import time
from datetime import timedelta

import numpy as np
import pytest
from django.conf import LazySettings
from django.db import IntegrityError, OperationalError, connection, transaction
from django.utils import timezone

from alerts.models import Alert
from sensors import outbox, retention, summary
from sensors.models import DirtyHour, HourlySummary, Reading
from sensors.timescale import chunks, compression, policies
from sensors.timescale.operations import SUMMARY
from tests.timescale.records import DAY, HOUR, make_sensor, record, settle_outbox, store

pytestmark = [pytest.mark.timescale, pytest.mark.usefixtures("on_timescaledb")]


def rows(sql: str, *parameters: object) -> list[tuple[object, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())


def value(sql: str, *parameters: object) -> object:
    return rows(sql, *parameters)[0][0]


def test_readings_are_a_hypertable_with_chunks_of_a_day() -> None:
    sensor = make_sensor()
    record(sensor, DAY, [1.0] * 3, seconds=86_400)
    found = rows(
        """SELECT range_end - range_start FROM timescaledb_information.chunks
        WHERE hypertable_name = 'sensors_reading' AND range_start >= %s""",
        DAY,
    )
    assert found == [(timedelta(days=1),)] * 3


def test_the_key_of_sensor_and_time_is_kept_on_the_hypertable() -> None:
    sensor = make_sensor()
    record(sensor, DAY, [1.0])
    with pytest.raises(IntegrityError, match="pkey"):
        record(sensor, DAY, [2.0])


def test_the_key_serves_the_newest_reading_of_a_sensor() -> None:
    sensor = make_sensor()
    record(sensor, DAY, [1.0] * 500)
    plan = rows(
        'EXPLAIN SELECT value FROM sensors_reading WHERE sensor_id = %s ORDER BY "timestamp" DESC LIMIT 1', sensor.pk
    )
    assert "Index Scan Backward" in str(plan)


def test_a_reading_that_is_stored_twice_counts_once() -> None:
    sensor = make_sensor()
    first = store(sensor, DAY, [1.0, 2.0, 3.0])[0]
    again = store(sensor, DAY, [9.0, 9.0, 9.0, 4.0])[0]
    assert (first.accepted, first.duplicates) == (3, 0)
    assert (again.accepted, again.duplicates) == (1, 3)
    assert list(Reading.objects.order_by("timestamp").values_list("value", flat=True)) == [1.0, 2.0, 3.0, 4.0]


def test_the_summary_is_a_continuous_aggregate_that_answers_in_real_time() -> None:
    assert value("SELECT materialized_only FROM timescaledb_information.continuous_aggregates") is False
    sensor = make_sensor()
    record(sensor, timezone.now(), [1.0, 2.0])
    assert sum(HourlySummary.objects.filter(sensor=sensor).values_list("count", flat=True)) == 2


def test_hours_that_are_not_over_keep_their_mark_and_are_not_refreshed() -> None:
    sensor = make_sensor()
    store(sensor, timezone.now() - timedelta(seconds=10), [1.0])
    outbox.drain("summarise")
    summary.rebuild_due(quiet_seconds=0)
    present = DirtyHour.objects.filter(bucket__gt=timezone.now() - HOUR)
    assert present.exists()


def test_a_refresh_that_would_lose_summaries_is_put_off_and_readers_have_both(settings: LazySettings) -> None:
    settings.RETENTION_DAYS = 30
    now = timezone.now()
    old = (now - timedelta(days=40)).replace(minute=0, second=0, microsecond=0)
    pruned, keeper = make_sensor("pruned", retention_days=None), make_sensor("keeper", retention_days=0)
    store(pruned, old, [1.0, 2.0])
    settle_outbox()
    summary.rebuild_due(quiet_seconds=0)
    assert chunks.drop_expired(now) == 1
    store(keeper, old, [5.0])
    settle_outbox()
    summary.rebuild_due(quiet_seconds=0)
    found = summary.hours([pruned.pk, keeper.pk], old, old + HOUR)
    assert found.count.tolist() == [2, 1]
    assert DirtyHour.objects.get().since > now


# A thermometer that is read every second to a tenth of a degree: the shift's slow swing and a little noise.
A_DAY_OF_SECONDS = """
    INSERT INTO sensors_reading (sensor_id, "timestamp", value)
    SELECT %s, %s + i * INTERVAL '1 s',
        round((60 + 8 * sin(i * 2 * pi() / 86400) + 0.1 * (random() + random() - 1))::numeric, 1)
    FROM generate_series(0, 86399) AS i
"""


def test_chunks_are_compressed_to_less_than_six_bytes_a_reading_and_still_take_readings() -> None:
    sensor = make_sensor()
    with connection.cursor() as cursor:
        cursor.execute(A_DAY_OF_SECONDS, [sensor.pk, DAY])
        cursor.execute("SELECT compress_chunk(c) FROM show_chunks('sensors_reading', newer_than => %s) c", [DAY - HOUR])
    before, after = rows(
        """SELECT before_compression_total_bytes / 86400.0, after_compression_total_bytes / 86400.0
        FROM chunk_compression_stats('sensors_reading') WHERE compression_status = 'Compressed'"""
    )[0]
    assert float(str(before)) > 80
    assert float(str(after)) <= 6
    assert store(sensor, DAY + timedelta(seconds=0.5), [1.0, 1.0], seconds=1)[0].accepted == 2
    assert store(sensor, DAY, [9.0])[0].duplicates == 1
    outbox.drain("summarise")
    summary.rebuild_due(quiet_seconds=0)
    assert HourlySummary.objects.get(sensor=sensor, bucket=DAY).count == 3602


def test_compressed_readings_beyond_the_limit_of_a_transaction_can_be_changed_on_request_until_it_ends() -> None:
    with connection.cursor() as cursor:
        for number in range(2):
            cursor.execute(A_DAY_OF_SECONDS, [make_sensor(f"second-{number}").pk, DAY])
        cursor.execute("SELECT compress_chunk(c) FROM show_chunks('sensors_reading', newer_than => %s) c", [DAY - HOUR])
    of_the_day = Reading.objects.filter(timestamp__gte=DAY, timestamp__lt=DAY + 24 * HOUR)
    with transaction.atomic():
        compression.unlimited_decompression()
        assert of_the_day.update(quality=0.5) == 2 * 86_400
        transaction.set_rollback(True)
    with pytest.raises(OperationalError, match="decompression limit"), transaction.atomic():
        of_the_day.update(quality=0.5)


def test_chunks_whose_readings_are_all_too_old_are_dropped_whole() -> None:
    now = timezone.now()
    sensor, keeper = make_sensor(retention_days=30), make_sensor("keeper", retention_days=0)
    for age in (90, 60, 5):
        record(sensor, now - timedelta(days=age), [1.0])
    record(keeper, now - timedelta(days=60), [1.0])
    assert chunks.drop_expired(now) == 1
    assert Reading.objects.filter(timestamp__lt=now - timedelta(days=80)).count() == 0
    assert Reading.objects.count() == 3


def test_a_chunk_that_was_given_readings_to_keep_since_it_was_looked_at_stays() -> None:
    now = timezone.now()
    old, kept = make_sensor("old", retention_days=30), make_sensor("kept", retention_days=0)
    record(old, now - timedelta(days=40), [1.0])
    [chunk] = chunks.expired(now)
    record(kept, now - timedelta(days=40), [2.0])
    assert chunks.drop(chunk, now) is False
    Reading.objects.filter(sensor=kept).delete()
    assert chunks.drop(chunk, now) is True
    assert not Reading.objects.exists()


def test_old_readings_of_a_sensor_with_many_compressed_ones_are_removed() -> None:
    now = timezone.now()
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    sensor, keeper = make_sensor(retention_days=30), make_sensor("keeper", retention_days=0)
    with connection.cursor() as cursor:
        for age in (40, 11, 10):
            cursor.execute(A_DAY_OF_SECONDS, [sensor.pk, today - timedelta(days=age)])
        record(keeper, today - timedelta(days=40), [1.0])
        cursor.execute(
            "SELECT compress_chunk(c, true) FROM show_chunks('sensors_reading', older_than => %s) c", [today]
        )
    assert retention.remove_readings(now, time.monotonic() + 60) == 86_400
    assert Reading.objects.count() == 2 * 86_400 + 1


def jobs() -> dict[str, dict[str, str]]:
    found = rows("SELECT proc_name, config::text FROM timescaledb_information.jobs WHERE hypertable_name IS NOT NULL")
    return {str(name): json.loads(str(config)) for name, config in found}


def test_the_settings_say_when_chunks_are_compressed_and_how_long_they_are(settings: LazySettings) -> None:
    assert jobs()["policy_compression"]["compress_after"] == "7 days"
    assert jobs()["policy_refresh_continuous_aggregate"]["end_offset"] == "01:00:00"
    settings.COMPRESS_AFTER_DAYS, settings.CHUNK_DAYS = 0, 2
    policies.apply()
    assert "policy_compression" not in jobs()
    record(make_sensor(), DAY + timedelta(days=400), [1.0])
    longest = """SELECT max(range_end - range_start) FROM timescaledb_information.chunks
        WHERE hypertable_name = 'sensors_reading'"""
    assert value(longest) == timedelta(days=2)
    settings.COMPRESS_AFTER_DAYS, settings.CHUNK_DAYS = 7, 1
    policies.apply()
    assert jobs()["policy_compression"]["compress_after"] == "7 days"


def test_a_database_that_was_plain_before_it_came_here_stays_so_and_works(caplog: pytest.LogCaptureFixture) -> None:
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(
                f"""CREATE SCHEMA moved;
                CREATE TABLE moved.sensors_reading (LIKE sensors_reading INCLUDING ALL);
                CREATE TABLE moved.{SUMMARY} AS SELECT * FROM {SUMMARY} WITH NO DATA;
                ALTER TABLE moved.{SUMMARY} ADD PRIMARY KEY (sensor_id, bucket);
                SET LOCAL search_path TO moved, public"""
            )
        policies.apply()
        sensor = make_sensor()
        store(sensor, DAY, [1.0] * 5)
        outbox.drain("summarise")
        DirtyHour.objects.update(since=DAY)  # This transaction's own time stands still.
        summary.rebuild_due(quiet_seconds=0)
        assert value(f"SELECT count FROM moved.{SUMMARY}") == 5
        transaction.set_rollback(True)
    assert "sensors_reading is a plain table" in caplog.text


def test_the_whole_way_from_a_reading_to_an_alert() -> None:
    now = timezone.now()
    sensor = make_sensor()
    noise = np.random.default_rng(7)
    store(sensor, now - timedelta(days=2), noise.normal(60, 0.5, 2 * 24 * 60 - 30).tolist())
    settle_outbox()
    assert not Alert.objects.exists()
    store(sensor, now - timedelta(minutes=10), (noise.normal(60, 0.5, 8) + 30).tolist())
    settle_outbox()
    alert = Alert.objects.get()
    assert (alert.sensor, alert.historical) == (sensor, False)

"""What migrations do differently with TimescaleDB: the summary is an aggregate, old chunks are compressed."""

from typing import Any

from django.db.migrations import CreateModel
from django.db.migrations.operations.base import Operation

SUMMARY = "sensor_readings_summary_hourly"
# Bucketed in UTC: aggregates in another zone can miss rows without a word (timescale/timescaledb#10296). Real-time:
# what lies after the last refresh is computed from the readings. Without data: a migration runs in a transaction.
CREATE_SUMMARY = f"""
    CREATE MATERIALIZED VIEW {SUMMARY}
    WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
    SELECT sensor_id, time_bucket(INTERVAL '1 hour', "timestamp") AS bucket,
        count(*) AS count, avg(value) AS avg, min(value) AS min, max(value) AS max,
        first(value, "timestamp") AS first, last(value, "timestamp") AS last, avg(quality) AS quality
    FROM sensors_reading
    GROUP BY 1, 2
    WITH NO DATA
"""
ALLOW_COMPRESSION = """
    ALTER TABLE sensors_reading SET (
        timescaledb.compress, timescaledb.compress_segmentby = 'sensor_id',
        timescaledb.compress_orderby = '"timestamp" DESC'
    )
"""


class CreateHourlySummary(CreateModel):
    """The model's table; with TimescaleDB a continuous aggregate of the same name and columns in its place."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        if schema_editor.connection.has_timescale_community():
            schema_editor.execute(CREATE_SUMMARY)
        else:
            super().database_forwards(app_label, schema_editor, from_state, to_state)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        if schema_editor.connection.has_timescale_community():
            schema_editor.execute(f"DROP MATERIALIZED VIEW {SUMMARY}")
        else:
            super().database_backwards(app_label, schema_editor, from_state, to_state)


class AllowCompression(Operation):
    """Lets chunks of readings be compressed, by sensor and in time order; when is up to `policies.apply`."""

    reversible = True

    def state_forwards(self, app_label: str, state: Any) -> None:
        """The models stay as they are."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        if schema_editor.connection.has_timescale_community():
            schema_editor.execute(ALLOW_COMPRESSION)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        if schema_editor.connection.has_timescale_community():
            schema_editor.execute("SELECT remove_compression_policy('sensors_reading', if_exists => true)")
            schema_editor.execute("SELECT decompress_chunk(c, true) FROM show_chunks('sensors_reading') c")
            schema_editor.execute("ALTER TABLE sensors_reading SET (timescaledb.compress = false)")

    def describe(self) -> str:
        return "Allow chunks of readings to be compressed"

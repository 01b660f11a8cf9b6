"""Changing readings that TimescaleDB has compressed. Plain PostgreSQL compresses nothing."""

from django.db import connection

# One statement for every engine: it finds nothing to do where there is no compression.
LIFT_LIMIT = """
    SELECT set_config('timescaledb.max_tuples_decompressed_per_dml_transaction', '0', true) FROM pg_extension
    WHERE extname = 'timescaledb' AND current_setting('timescaledb.license', true) = 'timescale'
"""


def unlimited_decompression() -> None:
    """Let the rest of the present transaction change as many compressed readings as it must.

    TimescaleDB otherwise ends a transaction that unpacks more than 100,000 rows, and it unpacks whole segments: a few
    readings of many sensors, or of one that is read every second, come to more.
    """
    with connection.cursor() as cursor:
        cursor.execute(LIFT_LIMIT)

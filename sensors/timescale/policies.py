"""What TimescaleDB does by itself in the background, as the settings say: applied after every migrate."""

import logging
from typing import Any

from django.conf import settings
from django.db import connection

from sensors.timescale.operations import SUMMARY

logger = logging.getLogger(__name__)

# A database that was made without TimescaleDB and moved to a server that has it. Converting the table would lock it
# for as long as all readings take to copy: not what a start of the platform may do unasked.
PLAIN = (
    "sensors_reading is a plain table, made before TimescaleDB was there: no chunks, no compression, no aggregate. "
    "To use them, migrate an empty database on this server and import the readings."
)
# The policy only carries the aggregate on with time; late readings are seen to by `sensors.summary`. A window that ends
# a day ago can never reach readings that retention has removed, whose summaries shall stay.
REFRESH_FROM, REFRESH_TO, REFRESH_EVERY = "1 day", "1 hour", "30 minutes"


def apply(**_: Any) -> None:
    """Bring chunk size, compression and refresh in line with the settings; nothing on plain tables."""
    if not connection.has_timescale():  # type: ignore[attr-defined]
        return
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT FROM timescaledb_information.hypertables
            WHERE format('%I.%I', hypertable_schema, hypertable_name)::regclass = 'sensors_reading'::regclass"""
        )
        if not cursor.rowcount:
            logger.warning(PLAIN)
            return
        cursor.execute(
            "SELECT set_chunk_time_interval('sensors_reading', make_interval(days => %s))", [settings.CHUNK_DAYS]
        )
        if not connection.has_timescale_community():  # type: ignore[attr-defined]
            return
        cursor.execute(f"SELECT remove_continuous_aggregate_policy('{SUMMARY}', if_exists => true)")
        cursor.execute(
            f"""SELECT add_continuous_aggregate_policy('{SUMMARY}', start_offset => %s::interval,
                end_offset => %s::interval, schedule_interval => %s::interval)""",
            [REFRESH_FROM, REFRESH_TO, REFRESH_EVERY],
        )
        cursor.execute("SELECT remove_compression_policy('sensors_reading', if_exists => true)")
        if settings.COMPRESS_AFTER_DAYS:
            cursor.execute(
                "SELECT add_compression_policy('sensors_reading', make_interval(days => %s))",
                [settings.COMPRESS_AFTER_DAYS],
            )

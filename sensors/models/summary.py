"""Readings by the hour, and which hours have to be computed again."""

from django.db import models

from sensors.models.plant import Sensor
from sensors.querysets import ReadingQuerySet


class HourlySummary(models.Model):
    """The readings of one sensor in one hour (UTC, from `bucket` on), in the sensor's unit; `quality` is their mean.

    With TimescaleDB this is a continuous aggregate, otherwise a table that `sensors.summary` fills. An hour without a
    row has no readings, or has not been computed yet: `sensors.summary.hours` reads what is right at any time.
    """

    pk = models.CompositePrimaryKey("sensor_id", "bucket")
    sensor = models.ForeignKey(Sensor, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False)
    bucket = models.DateTimeField()
    count = models.BigIntegerField()
    avg = models.FloatField()
    min = models.FloatField()
    max = models.FloatField()
    first = models.FloatField()
    last = models.FloatField()
    quality = models.FloatField()

    objects = ReadingQuerySet.as_manager()

    class Meta:
        db_table = "sensor_readings_summary_hourly"
        verbose_name_plural = "hourly summaries"

    def __str__(self) -> str:
        return f"{self.sensor_id} {self.bucket:%Y-%m-%d %H:%M}: {self.count} readings"


class DirtyHour(models.Model):
    """An hour of a sensor whose readings have changed since its summary was computed (`sensors.summary`).

    `since` is when it was first marked or last taken up for computing, `touched_at` when it last changed.
    """

    pk = models.CompositePrimaryKey("sensor_id", "bucket")
    sensor = models.ForeignKey(Sensor, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False)
    bucket = models.DateTimeField()
    since = models.DateTimeField()
    touched_at = models.DateTimeField()

    objects = ReadingQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.sensor_id} {self.bucket:%Y-%m-%d %H:%M}"

"""What the stored readings of an asset give its model to answer for: the newest rows, made as for its training."""

import pandas as pd
from django.utils import timezone

from mlops.detectors.base import Frame
from mlops.failure_training import SAMPLE_US
from mlops.features.failure_rows import LENGTHS, STRIDE, FailureRows
from mlops.grid import Grid
from mlops.prediction.tables import Times
from mlops.training import us
from sensors import history
from sensors.history import Span, Window
from sensors.models import Sensor


def grid_rows(asset: int, grid: Grid, context: int, newest: int) -> Frame:
    """The newest rows of the grid, up to the asset's last reading, and as many before as the first one rests on."""
    sensors = _sensors(asset, grid.tolerances_us)
    now = us(timezone.now())
    lasts = history.spans([Span(pk, now, now) for pk in sensors.values()], context=1)
    last = max((int(times[-1]) for times, _ in lasts if len(times)), default=0)
    first = last - (newest + context) * grid.step_us - max(grid.tolerances_us.values())
    series = history.spans([Span(pk, first, last) for pk in sensors.values()], context=0)
    frame = grid.frame(dict(zip(sensors, series, strict=True)))
    return frame.part(slice(max(0, len(frame) - newest - context), None))


def failure_rows(asset: int, rows: FailureRows, newest: int) -> tuple[Times, pd.DataFrame]:
    """The times of the newest rows of which anything is known, and their features."""
    sensors = _sensors(asset, rows.grid.tolerances_us)
    now = us(timezone.now())
    first = now - (LENGTHS[-1] + STRIDE * (newest + 1)) * rows.grid.step_us
    samples = history.samples([Window(pk, first, now, SAMPLE_US) for pk in sensors.values()])
    times, features = rows.of(dict(zip(sensors, samples, strict=True)))
    return times[-newest:], features.tail(newest)


def _sensors(asset: int, keys: dict[str, int]) -> dict[str, int]:
    """By their keys, those of the asset that a model knows."""
    found = Sensor.objects.filter(asset=asset, sensor_id__in=list(keys)).exclude(status=Sensor.Status.DISCOVERED)
    return dict(found.order_by("sensor_id").values_list("sensor_id", "pk"))

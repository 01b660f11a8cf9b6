"""A model of a whole asset, learned from the normal past of its sensors on one grid."""

from collections.abc import Callable, Mapping
from datetime import datetime

import numpy as np

from mlops import calibration, cards, training, trials
from mlops.detectors.base import Frame, NotEnoughData
from mlops.detectors.channels import KNOWN_SHARE
from mlops.grid import Grid, Series
from mlops.training import Trained
from sensors.models import Asset

CANDIDATES = ("asset_ensemble", "mahalanobis", "pca_t2q", "kmeans_ad")
FEWEST_SENSORS = 2
FEWEST_ROWS = 500
MOST_ROWS = 20_000
# The rows cover so many days, if that many are there: quick readings are averaged, so that night and weekend are known.
COVERED_US = 7 * calibration.DAY_US


def train(grid: Grid, frame: Frame, tell: Callable[[str], None] = lambda _: None) -> Trained:
    """The best model for an asset with these normal rows of the grid; `tell` hears of every step.

    There is no built-in detector of an asset to beat: a model is worth serving when it finds any of the injected
    faults, and its false events on the last quarter are no sign of more than one a month. Raises NotEnoughData.
    """
    if len(frame) < FEWEST_ROWS:
        raise NotEnoughData(f"{len(frame)} normal rows are too few; {FEWEST_ROWS} are needed.")
    tried = trials.run(frame, CANDIDATES, tell)
    best = tried[0]
    medians, spreads = np.nanmedian(frame.values, axis=0).tolist(), trials.spreads(frame).tolist()
    described = {f"median/{name}": median for name, median in zip(frame.channels, medians, strict=True)}
    described |= {f"spread/{name}": spread for name, spread in zip(frame.channels, spreads, strict=True)}
    said = training.in_words(tried)
    serves = best.is_quiet and best.share_found > 0
    return Trained(
        artifact=training.artifact_of(best, tried, frame, described, preprocessing=grid),
        example=frame.values,
        card=cards.of_detector(best, tried) | {"importance": _importance(best, frame)},
        serves=serves,
        said=said if serves else f"None is good enough to serve: {said}",
    )


def normal_rows(asset: Asset, now: datetime, days: int = training.DAYS) -> tuple[Grid, Frame]:
    """The grid of the asset's sensors and its newest rows, without what is not normal (training.normal_series).

    Sensors come in the order of their keys; those that are unknown in more than half of the rows are left out. Raises
    NotEnoughData when fewer than two sensors are left.
    """
    series = {}
    for sensor in asset.sensors.filter(status="active").order_by("sensor_id"):
        found = training.normal_series(sensor, now, days)
        if len(found[0]) >= 2:
            series[sensor.sensor_id] = found
    if len(series) >= FEWEST_SENSORS:
        frame = _grid(series).frame(series).part(slice(-MOST_ROWS, None))
        known = np.mean(~np.isnan(frame.values), axis=0) >= KNOWN_SHARE
        series = {name: series[name] for name, enough in zip(frame.channels, known, strict=True) if enough}
    if len(series) < FEWEST_SENSORS:
        raise NotEnoughData(f"{len(series)} sensors of {asset} have normal readings; {FEWEST_SENSORS} are needed.")
    grid = _grid(series)
    return grid, grid.frame(series).part(slice(-MOST_ROWS, None))


def _grid(series: Mapping[str, Series]) -> Grid:
    first = min(timestamps[0] for timestamps, _ in series.values())
    last = max(timestamps[-1] for timestamps, _ in series.values())
    return Grid.learn(series, shortest_step_us=int(min(last - first, COVERED_US)) // MOST_ROWS)


def _importance(best: trials.Trial, frame: Frame) -> list[dict[str, object]]:
    """The mean share of each sensor in the scores of the last quarter."""
    first = len(frame) - len(best.scores)
    begin = max(0, first - best.model.context)
    shares = best.model.contributions(frame.part(slice(begin, len(frame))))[first - begin :]
    return cards.importance(dict(zip(frame.channels, np.nan_to_num(np.nanmean(shares, axis=0)).tolist(), strict=True)))

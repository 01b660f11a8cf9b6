"""The volume under the surface comes from TSB-AD; the gauntlet runs on files of the layout of NAB and SKAB."""

import csv
import gzip
import sys
from pathlib import Path

import numpy as np
import pytest

from mlops.detectors.base import Frame
from mlops.gauntlets import univariate
from mlops.gauntlets.univariate import Series
from tests.mlops.gauntlets.test_nab import write_series

STEP = np.timedelta64(1, "s")


@pytest.fixture
def with_tsb_ad() -> None:
    pytest.importorskip("TSB_AD", reason="install requirements/gauntlets.txt")


def rhythm(rows: int, seed: int = 1) -> Frame:
    values = np.sin(2 * np.pi * np.arange(rows) / 20) + np.random.default_rng(seed).normal(0, 0.1, rows)
    return Frame(np.arange(rows) * 1_000_000, values[:, None], ("flow",))


def labelled(rows: int = 900) -> Series:
    labels = np.zeros(rows, np.int64)
    labels[600:700] = 1
    return Series("a pump", rhythm(rows), labels, 400)


def write_run(path: Path, seed: int) -> None:
    """Two sensors of a pump whose flow stops after a while, a reading every second, in SKAB's layout."""
    columns = [rhythm(800, seed).values[:, 0] + 10, rhythm(800, seed + 1).values[:, 0] + 3]
    columns[0][600:] = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt") as text:
        writer = csv.writer(text, delimiter=";")
        writer.writerow(["datetime", "Flow", "Pressure", "anomaly", "changepoint"])
        for row, values in enumerate(zip(*columns, strict=True)):
            stamp = str(np.datetime64("2024-03-01T00:00:00") + row * STEP).replace("T", " ")
            writer.writerow([stamp, *values, float(row >= 600), float(row == 600)])


@pytest.mark.usefixtures("with_tsb_ad")
def test_the_labels_themselves_fill_the_volume_and_noise_does_not() -> None:
    series, volume = labelled(), univariate.volume_under_surface()
    assert volume(series, series.labels.astype(float)) > 0.9
    assert volume(series, np.random.default_rng(0).random(900)) < 0.3


def test_the_windowed_gaussian_looks_back_only() -> None:
    frame = rhythm(900)
    values = frame.values.copy()
    values[700:] += 5
    before = univariate.windowed_gaussian(Frame(frame.timestamps, values, frame.channels))[:700]
    np.testing.assert_allclose(before, univariate.windowed_gaussian(frame)[:700])


def test_a_detector_that_cannot_learn_from_the_first_rows_ranks_nothing() -> None:
    frame = rhythm(900)
    values = frame.values.copy()
    values[:400] = 0
    series = Series("a pump", Frame(frame.timestamps, values, frame.channels), labelled().labels, 400)
    kind = univariate.detectors.detector_class("ensemble")
    assert not univariate.scores(series, kind).any()


@pytest.mark.usefixtures("with_tsb_ad")
def test_it_runs_on_other_files_of_the_same_layout(tmp_path: Path) -> None:
    write_series(tmp_path / "nab", "fan", seed=1)
    write_run(tmp_path / "skab" / "valve9" / "0.csv.gz", seed=2)
    result = univariate.run(tmp_path)
    assert sorted(result.data) == ["combined_windows.json", "fan.csv.gz", "valve9/0.csv.gz"]
    assert result.metrics["ensemble"]["VUS-PR"] > 2 * result.baselines["random"]["VUS-PR"]
    assert len(result.gates) == 2


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "TSB_AD.evaluation.basic_metrics", None)
    with pytest.raises(univariate.PackageMissing, match=r"pip install .*requirements/gauntlets\.txt"):
        univariate.run(tmp_path)

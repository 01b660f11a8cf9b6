"""The gauntlet of the pump and its valves, on files of its layout and on the real ones, read in place."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from django.conf import settings

from mlops.gauntlets import skab
from mlops.gauntlets.injected import faults
from mlops.leaks import LeakFound

ROWS = 1150
FAULTY = slice(600, 900)
SKAB = settings.DATA_DIR / "skab"


def write(path: Path, seed: int, faulty: slice | None, hidden: float = 0.0) -> None:
    """A run of three channels at 1 Hz; `hidden` is added to the first channel of its faulty rows."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(ROWS, 3))
    labels = np.zeros(ROWS)
    if faulty:
        values[faulty, 0] += hidden
        labels[faulty] = 1
    times = np.datetime64("2020-03-09T10:00:00") + np.arange(ROWS)
    header = "datetime;Current;Pressure;Flow" + (";anomaly;changepoint" if faulty else "")
    ends = [f";{label};0.0" if faulty else "" for label in labels]
    rows = [
        f"{str(at).replace('T', ' ')};{';'.join(map(str, row))}{end}"
        for at, row, end in zip(times, values.tolist(), ends, strict=True)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join([header, *rows]) + "\n"
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of another name and a fault-free file, one of them not compressed."""
    data = tmp_path_factory.mktemp("data")
    write(data / "skab" / "other" / "1.csv", 1, FAULTY, 3.0)
    write(data / "skab" / "valve9" / "1.csv.gz", 2, FAULTY, 3.0)
    write(data / "skab" / "anomaly-free" / "anomaly-free.csv.gz", 3, None)
    return data


def test_every_labelled_file_is_a_run_and_a_clear_fault_is_found(folder: Path) -> None:
    result = skab.run(folder)
    assert len(result.data) == 3, "files of the same name are told apart"
    ours = result.metrics[skab.DEFAULT]
    assert ours["PR-AUC"] > 0.95
    assert ours["F1"] > 0.9
    assert "Runs: 2." in result.notes[-1]
    assert {f"{name}, injected faults" for name in skab.DETECTORS} < set(result.metrics)


def test_without_a_fault_free_file_there_are_no_injected_faults(tmp_path: Path) -> None:
    write(tmp_path / "skab" / "valve1" / "1.csv", 1, FAULTY, 3.0)
    assert set(skab.run(tmp_path).metrics) == set(skab.DETECTORS)


def test_a_folder_without_labels_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "skab" / "anomaly-free" / "anomaly-free.csv", 1, None)
    with pytest.raises(FileNotFoundError):
        skab.run(tmp_path)


def test_a_column_that_tells_the_time_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "skab" / "valve1" / "1.csv"
    write(path, 1, FAULTY, 3.0)
    header, *rows = path.read_text().splitlines()
    with_clock = [f"{row};{number}" for number, row in enumerate(rows)]
    path.write_text("\n".join([f"{header};Elapsed", *with_clock]))
    with pytest.raises(LeakFound, match="Elapsed"):
        skab.run(tmp_path)


def test_labels_have_no_part_in_the_scores(folder: Path) -> None:
    frame, faulty = skab.read(folder / "skab" / "other" / "1.csv")
    assert faulty is not None
    (make, *_) = skab.DETECTORS.values()
    as_it_is, turned = (skab.scores(make(), skab.Run(frame, labels)) for labels in (faulty, ~faulty))
    np.testing.assert_array_equal(as_it_is, turned)


def test_the_clock_knows_the_other_runs_and_not_its_own() -> None:
    own, *others = (np.array(labels, bool) for labels in ([0, 1, 1], [0, 0, 1, 1], [0, 1]))
    assert skab.clock([own, *others])[0].tolist() == [0.0, 0.5, 1.0]


def test_all_rows_called_faulty_miss_nothing_and_are_all_false() -> None:
    faulty = np.array([False, True, False, True])
    figures = skab.figures([np.full(4, 2.0)], [faulty])
    assert figures["F1"] == pytest.approx(2 / 3)
    assert (figures["FAR %"], figures["MAR %"], figures["PR-AUC"]) == (100, 0, 0.5)


def test_a_fault_is_put_into_one_channel_at_a_time_and_nowhere_else(folder: Path) -> None:
    frame, _ = skab.read(folder / "skab" / "anomaly-free" / "anomaly-free.csv.gz")
    for broken in faults(frame, 400, 650, 950):
        rows, channels = np.nonzero(broken.values != frame.values)
        assert len(set(channels)) == 1
        assert 650 <= rows.min() <= 651
        assert rows.max() == 949


@pytest.mark.data
@pytest.mark.skipif(not SKAB.exists(), reason="the data folder is not there; set DATA_DIR")
def test_the_gates_hold_on_the_real_runs() -> None:
    files = [skab.read(path) for path in sorted(SKAB.glob("valve*/*.csv.gz"))]
    runs = [skab.Run(frame, faulty) for frame, faulty in files if faulty is not None]
    make = skab.DETECTORS[skab.DEFAULT]
    figures = skab.figures([skab.scores(make(), run) for run in runs], [run.tested for run in runs])
    assert all(gate.holds for gate in skab.gates(figures)), figures

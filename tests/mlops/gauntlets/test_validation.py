"""The gauntlet of validation on files of the layouts of NAB and SKAB, and on the published ones, read in place."""

from pathlib import Path

import numpy as np
import pytest
from django.conf import settings

from mlops.events import EVENT_GAP_US
from mlops.gauntlets import validation
from mlops.gauntlets.validation import Judged, Stream
from sensors.history import Window
from tests.mlops.gauntlets import test_nab, test_skab

DATA = settings.DATA_DIR


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("data")
    for seed, name in enumerate(["pump", "fan"]):
        test_nab.write_series(data / "nab", name, seed)
    for seed in (1, 2):
        test_skab.write(data / "skab" / "valve9" / f"{seed}.csv.gz", seed, test_skab.FAULTY, 3.0)
    return data


def test_it_runs_on_other_files_of_the_same_layouts(folder: Path) -> None:
    result = validation.run(folder)
    files = ["combined_windows.json", "fan.csv.gz", "pump.csv.gz", "valve9/1.csv.gz", "valve9/2.csv.gz"]
    assert sorted(result.data) == files
    for name in ("NAB", "SKAB"):
        found = result.metrics[f"{name}, confirmed events"]
        assert found["windows found"] == 2, "each has two, with a clear fault in it"
        assert result.metrics[f"{name}, an alert is raised"]["true lost %"] == 0
    assert [gate.name for gate in result.gates if "lost" in gate.name] == ["NAB: true lost %", "SKAB: true lost %"]


def test_an_event_knows_nothing_of_what_comes_after_its_end(folder: Path) -> None:
    whole, *_ = validation.nab_streams(folder / "nab")
    judged = validation.events_of(whole)[0]
    timestamps, values = whole.sensor or ((), ())
    cut = int(np.searchsorted(timestamps, judged.event.end, side="right"))
    known = Stream(whole.rows, whole.windows, EVENT_GAP_US, (timestamps[:cut], values[:cut]))
    assert validation.decide(known, judged.event, []) == validation.decide(whole, judged.event, [])


def test_verdicts_on_the_file_itself_have_no_part(folder: Path) -> None:
    streams = validation.skab_streams(folder / "skab", validation.SKAB_GAP_US)
    found = validation.decide_all(streams)
    turned = [Judged(each.event, not each.founded) for each, _ in found[0].events]
    others = [each for each, _ in found[1].events]
    again = [validation.decide(streams[0], each.event, others) for each in turned]
    assert again == [decision for _, decision in found[0].events]


def test_steps_are_looked_at_once_and_by_their_first_reading() -> None:
    stamps, values = np.array([0, 5, 10, 19, 20, 31]), np.arange(6.0)
    found = validation._looked_at((stamps, values), Window(1, 5, 30, 10))
    assert (found[0].tolist(), found[1].tolist()) == ([5, 19], [1.0, 3.0])


@pytest.mark.data
@pytest.mark.skipif(not (DATA / "nab").exists(), reason="the data folder is not there; set DATA_DIR")
def test_every_gate_holds_on_the_published_files() -> None:
    gates = validation.run(DATA).gates
    assert len(gates) == 4
    assert [gate.name for gate in gates if not gate.holds] == []

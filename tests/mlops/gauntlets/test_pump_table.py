"""The negative control: a made table of its layout, and the published one, read in place."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from django.conf import settings

from mlops import gauntlets
from mlops.gauntlets import pump_table

DATA = settings.DATA_DIR


def write(path: Path, rows: int = 240) -> None:
    """A table of counters whose label is the row number modulo 4."""
    row = np.arange(rows)
    columns = {name: 10.0 + row % (5 + k) for k, name in enumerate(pump_table.SENSORS)}
    fault = (row % 4 == 0).astype(int)
    times = pd.Timestamp("2025-01-01") + pd.to_timedelta(row, unit="h")
    said = np.where(fault == 1, "Fault Detected", "No Fault")
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame({"Timestamp": times, **columns, "Fault Status": said, "Fault Detected": fault}).to_csv(path)


def test_it_runs_on_another_table_of_the_same_layout(tmp_path: Path) -> None:
    write(tmp_path / "pump_maintenance_table" / "counters.csv")
    result = pump_table.run(tmp_path)
    assert list(result.data) == ["counters.csv"]
    assert all(gate.holds for gate in result.gates)
    assert "Fault Status" in result.notes[0]


@pytest.mark.data
@pytest.mark.skipif(not DATA.exists(), reason="the data folder is not there; set DATA_DIR")
def test_the_pump_table_is_refused_for_what_it_is() -> None:
    result = gauntlets.run("pump_table", DATA)
    assert [gate.holds for gate in result.gates] == [True, True]
    # What an honest model finds in counters of 5 and 10 about a label that counts to 3.
    assert 0.4 < result.baselines["boosting, the six sensors, five blocks"]["ROC AUC"] < 0.6

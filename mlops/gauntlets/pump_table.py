"""The pump maintenance table: a negative control. Every column is a counter, the label is the row number modulo 3, and
whatever scores well on it has learned the counter.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.model_selection import KFold

from mlops.classifiers import FailureClassifier
from mlops.gauntlets import Gate, Number, Result, fingerprints
from mlops.leaks import LABEL, Leak, find_leaks

FAULT, TIME = "Fault Detected", "Timestamp"
# What the table says was measured.
SENSORS = ["Voltage (V)", "Current (A)", "Temperature (°C)", "Power (W)", "Humidity (%)", "Vibration (m/s²)"]
_NOTES = [
    "Refused is what must happen: a leak check that passes this table passes models that are right by counting rows.",
    "The row of the six sensors is what an honest model finds in them by contiguous blocks: chance.",
]


def run(data: Path) -> Result:
    """Every CSV file in `data`/pump_maintenance_table must be refused, each for reasons it names. Raises
    FileNotFoundError.
    """
    files = sorted((data / "pump_maintenance_table").glob("*.csv*"))
    if not files:
        raise FileNotFoundError(data / "pump_maintenance_table" / "sensor_maintenance_data.csv.gz")
    # "None" is a word of these tables and no blank.
    tables = [pd.read_csv(file, keep_default_na=False) for file in files]
    found = [leaks_of(table) for table in tables]
    refused_columns = {leak.column for leaks in found for leak in leaks if leak.column != LABEL}
    by_row = sum(any(leak.column == LABEL for leak in leaks) for leaks in found)
    gates = [
        Gate("tables refused", sum(map(bool, found)), f">= {len(files)}"),
        Gate("labels found to follow the row number", by_row, f">= {len(files)}"),
    ]
    metrics: dict[str, dict[str, Number]] = {
        "leak check": {
            "columns": len(tables[0].columns) - 1,
            "refused": len(refused_columns),
            "that tell the label": len(_with(found, "separates_the_label")),
            "known after the event": len(_with(found, "known_after_the_event")),
            "row counters": len(_with(found, "row_counter")),
        }
    }
    notes = [f"Tell the label by themselves: {', '.join(_with(found, 'separates_the_label')) or 'none'}.", *_NOTES]
    return Result("pump_table", fingerprints(files), metrics, _baselines(tables[0]), gates, notes)


def leaks_of(table: pd.DataFrame) -> list[Leak]:
    time = pd.to_datetime(table[TIME]).to_numpy()
    return find_leaks(table.drop(columns=FAULT), table[FAULT].to_numpy(), time)


def _with(found: list[list[Leak]], reason: str) -> list[str]:
    return list(dict.fromkeys(leak.column for leaks in found for leak in leaks if leak.reason == reason))


def _baselines(table: pd.DataFrame) -> dict[str, dict[str, Number]]:
    labels = table[FAULT].to_numpy(np.int64)
    every_third = (np.arange(len(labels)) % 3 == 0).astype(np.int64)
    return {
        "all ones": {"F1": float(f1_score(labels, np.ones_like(labels)))},
        "LEAK: row number % 3 == 0": {"F1": float(f1_score(labels, every_third))},
        "boosting, the six sensors, five blocks": {"ROC AUC": _honest_auc(table[SENSORS], labels)},
    }


def _honest_auc(frame: pd.DataFrame, labels: NDArray[np.int64]) -> float:
    probabilities = np.empty(len(labels))
    for train, test in KFold(5).split(frame):
        model = FailureClassifier("lightgbm", folds="blocked").fit(frame.iloc[train], labels[train])
        probabilities[test] = model.predict_proba(frame.iloc[test])[:, 1]
    return float(roc_auc_score(labels, probabilities))

"""SKAB: a test bed of a pump and two valves, 1 Hz, eight sensors, one fault a run (Katser and Kozitsin, 2020).

Each run is learned from its first 400 rows and scored on the rest, with one limit for all runs. Runs are every file
with an `anomaly` column in a folder of DIR/skab; files without one are free of faults, and faults are put into them.
"""

import csv
import gzip
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from mlops.detectors.asset_ensemble import AssetEnsemble
from mlops.detectors.base import Detector, Frame
from mlops.detectors.kmeans_ad import KMeansAD
from mlops.detectors.mahalanobis import Mahalanobis
from mlops.detectors.pca_t2q import PcaT2Q
from mlops.gauntlets import Gate, Number, Result, fingerprints
from mlops.gauntlets.injected import faults
from mlops.leaks import clock_check

TRAINING_ROWS = 400
# Scores of asset detectors are 1 where 1 % of held-back normal rows lie above (mlops.detectors.asset).
LIMIT = 1.0
DEFAULT = "ensemble of the three (default)"
DETECTORS: dict[str, Callable[[], Detector]] = {
    DEFAULT: AssetEnsemble,
    "Ledoit-Wolf Mahalanobis": Mahalanobis,
    "PCA T2 and Q": PcaT2Q,
    "KMeansAD": KMeansAD,
}
# As printed on the set's own board, on all of its 34 runs (what the board does not print is left out), and as computed
# beforehand on the 20 runs of valve1 and valve2.
PUBLISHED: dict[str, dict[str, Number]] = {
    "reference, 20 runs: Mahalanobis, 15 s, all channels": {"PR-AUC": 0.922, "F1": 0.821},
    "reference, 20 runs: Mahalanobis, 15 s, thermal dropped by name": {"PR-AUC": 0.939, "F1": 0.847},
    "published, 34 runs: Conv-AE (not causal)": {"F1": 0.78, "FAR %": 13.6, "MAR %": 28.0},
    "published, 34 runs: T2 + Q (PCA)": {"F1": 0.76},
    "published, 34 runs: isolation forest": {"F1": 0.29},
}
SEEDS = range(1, 6)
# Stretches of a fault-free file are as long as a labelled run, and faulty for as long.
STRETCH_ROWS = 1150
INJECTED = slice(650, 950)
NOTES = [
    "Trained on rows 1-400 of each run, scored on the rest; F1, FAR and MAR over all rows of all runs together, PR-AUC "
    "the mean over runs and +- its 95 % interval from their spread. Scores are causal and see neither elapsed time nor "
    "row number; rows without a score count as normal.",
    "The clock looks at nothing but the row number (the share of the other runs that are faulty at that row). The runs "
    "follow one timetable, so it is better than any detector here, the published ones included: these figures say "
    "something only of scores that do not know the time.",
    "The limit of 1 is the 99 % quantile of each run's held-back training rows. That slow channels go apart and that "
    "means span 5 to 15 s was known of this set beforehand; the constants were first set with the labelled runs in "
    "sight. They were then put to the test on the fault-free file with injected faults alone, by a rule fixed before: "
    "another value is taken if it is better by two standard errors in PR-AUC, and in F1. One was, by 0.002: long means "
    "of 30 rows instead of 60 (120 were better by 0.001). Not so means of 5 and 15 rows, slow channels at 2 and 5 "
    "times the fastest movement, or from 10 and 25 independent samples. Nothing set apart as slow costs 0.017 there. "
    "The ensemble takes all three detectors alike, and has the highest PR-AUC and F1 there.",
    "Injected faults are small (2 and 4 standard deviations of one channel) and the fault-free file wanders away from "
    "what its first 400 rows show; their rows share eight stretches, so that their interval is too narrow.",
]


@dataclass(frozen=True)
class Run:
    frame: Frame
    faulty: NDArray[np.bool_]

    @property
    def tested(self) -> NDArray[np.bool_]:
        return self.faulty[TRAINING_ROWS:]


def run(data: Path) -> Result:
    """Raises FileNotFoundError when the folder holds no labelled run."""
    paths = sorted((data / "skab").glob("*/*.csv*"))
    found = [read(path) for path in paths]
    runs = [Run(frame, faulty) for frame, faulty in found if faulty is not None]
    if not runs:
        raise FileNotFoundError(data / "skab")
    tested = [each.tested for each in runs]
    metrics = {name: figures([scores(make(), each) for each in runs], tested) for name, make in DETECTORS.items()}
    metrics |= injected([frame for frame, faulty in found if faulty is None])
    baselines = {
        "every row": figures([np.full(len(each), LIMIT + 1) for each in tested], tested),
        "any channel beyond 3 sigma": figures([beyond_three_sigma(each) for each in runs], tested),
        "clock": figures(clock(tested), tested, limit=0.5),
    }
    notes = [*NOTES, over_seeds(runs, tested), f"Targets: PR-AUC 0.95 and F1 0.87. Runs: {len(runs)}."]
    return Result(
        "skab", _fingerprints(data, paths), metrics, baselines | PUBLISHED, gates(metrics[DEFAULT]), notes, tuple(SEEDS)
    )


def gates(ours: dict[str, Number]) -> list[Gate]:
    return [
        Gate("mean PR-AUC of the runs", ours["PR-AUC"], ">= 0.93"),
        Gate("F1", ours["F1"], ">= 0.84"),
        Gate("false alarm rate, %", ours["FAR %"], "<= 16"),
        Gate("missed alarm rate, %", ours["MAR %"], "<= 20"),
    ]


def read(path: Path) -> tuple[Frame, NDArray[np.bool_] | None]:
    """The readings of a file, and which rows are faulty; None where it has no labels.

    Raises mlops.leaks.LeakFound when a column tells the time.
    """
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    header, *rows = csv.reader(io.StringIO(raw.decode()), delimiter=";")
    channels = [name for name in header if name not in ("datetime", "anomaly", "changepoint")]
    columns = dict(zip(header, zip(*rows, strict=True), strict=True))
    moments = [datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp() * 1e6 for at in columns["datetime"]]
    values = np.array([columns[name] for name in channels], float).T
    clock_check(pd.DataFrame(values, columns=channels))
    frame = Frame(np.array(moments).astype(np.int64), values, tuple(channels))
    return frame, np.array(columns["anomaly"], float) > 0 if "anomaly" in columns else None


def scores(detector: Detector, run: Run) -> NDArray[np.float64]:
    """The scores of the tested rows; 0 where the detector can't say."""
    return scores_of_alike(detector, [run])[0]


def scores_of_alike(detector: Detector, runs: list[Run]) -> list[NDArray[np.float64]]:
    """The scores of the tested rows of runs that have their training rows in common."""
    detector.fit(runs[0].frame.part(slice(TRAINING_ROWS)))
    since = max(TRAINING_ROWS - detector.context, 0)
    found = [detector.score(run.frame.part(slice(since, None))) for run in runs]
    return [np.nan_to_num(each[TRAINING_ROWS - since :]) for each in found]


def injected(normal: list[Frame]) -> dict[str, dict[str, Number]]:
    """The detectors on fault-free files with faults put into one channel at a time, each stretch learned once."""
    stretches = [
        frame.part(slice(start, start + STRETCH_ROWS))
        for frame in normal
        for start in range(0, len(frame) - STRETCH_ROWS + 1, STRETCH_ROWS)
    ]
    if not stretches:
        return {}
    faulty = np.zeros(STRETCH_ROWS, bool)
    faulty[INJECTED] = True
    runs = [
        [Run(broken, faulty) for broken in faults(stretch, TRAINING_ROWS, INJECTED.start, INJECTED.stop)]
        for stretch in stretches
    ]
    tested = [faulty[TRAINING_ROWS:]] * sum(map(len, runs))
    return {
        f"{name}, injected faults": figures(
            [found for group in runs for found in scores_of_alike(make(), group)], tested
        )
        for name, make in DETECTORS.items()
    }


def over_seeds(runs: list[Run], tested: list[NDArray[np.bool_]]) -> str:
    found = [figures([scores(AssetEnsemble(seed), each) for each in runs], tested) for seed in SEEDS]
    areas, f1s = [each["PR-AUC"] for each in found], [each["F1"] for each in found]
    return (
        f"Over {len(SEEDS)} seeds of KMeansAD the ensemble's PR-AUC lies between {min(areas):.4f} and "
        f"{max(areas):.4f}, its F1 between {min(f1s):.4f} and {max(f1s):.4f}."
    )


def beyond_three_sigma(run: Run) -> NDArray[np.float64]:
    """The largest deviation of a row from the mean of the training rows, in three of their standard deviations."""
    trained, values = run.frame.values[:TRAINING_ROWS], run.frame.values[TRAINING_ROWS:]
    sizes = np.abs(values - trained.mean(axis=0)) / np.maximum(trained.std(axis=0), np.finfo(float).tiny)
    return np.asarray(sizes.max(axis=1) / 3)


def clock(tested: list[NDArray[np.bool_]]) -> list[NDArray[np.float64]]:
    """For each row, the share of the other runs that are faulty at the same row number."""
    longest = max(len(each) for each in tested)
    padded = np.array([np.pad(each.astype(float), (0, longest - len(each)), constant_values=np.nan) for each in tested])
    known = ~np.isnan(padded)
    others = known.sum(axis=0) - known
    totals = np.nansum(padded, axis=0) - np.nan_to_num(padded)
    shares = np.divide(totals, others, out=np.zeros_like(padded), where=others > 0)
    return [row[: len(each)] for row, each in zip(shares, tested, strict=True)]


def figures(
    scored: Iterable[NDArray[np.float64]], tested: Iterable[NDArray[np.bool_]], limit: float = LIMIT
) -> dict[str, Number]:
    """Mean PR-AUC of the runs; F1, false and missed alarm rates of all rows together."""
    pairs = list(zip(scored, tested, strict=True))
    areas = [float(average_precision_score(faulty, score)) for score, faulty in pairs if faulty.any()]
    alarmed, faulty = np.concatenate([score > limit for score, _ in pairs]), np.concatenate([f for _, f in pairs])
    hits, false, missed = (alarmed & faulty).sum(), (alarmed & ~faulty).sum(), (~alarmed & faulty).sum()
    return {
        "PR-AUC": float(np.mean(areas)),
        "+-": float(1.96 * np.std(areas) / np.sqrt(len(areas))),
        "worst PR-AUC": min(areas),
        "F1": float(2 * hits / (2 * hits + false + missed)),
        "FAR %": float(100 * false / (~faulty).sum()),
        "MAR %": float(100 * missed / faulty.sum()),
    }


def _fingerprints(data: Path, paths: list[Path]) -> dict[str, str]:
    """Several folders hold files of the same name."""
    return {str(path.relative_to(data)): digest for path in paths for digest in fingerprints([path]).values()}

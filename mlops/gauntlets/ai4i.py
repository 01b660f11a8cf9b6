"""AI4I 2020: failures of a milling machine; 10,000 rows made by a model of one (S. Matzka, DOI 10.24432/C5HS5C).

Left out of the features: what names a row, and the five flags of the cause of a failure, which are the label in parts.
"""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.metrics import average_precision_score, brier_score_loss, f1_score, matthews_corrcoef
from sklearn.model_selection import StratifiedKFold
from sklearn.tree import DecisionTreeClassifier

from mlops.classifiers import FailureClassifier
from mlops.features.categories import Categories
from mlops.features.physics import SHAFT_POWER, TEMPERATURE_DIFFERENCE, TOOL_STRAIN, Derived, DerivedQuantities
from mlops.gauntlets import Gate, Number, Result, fingerprints
from mlops.leaks import find_leaks, leak_check

LABEL = "Machine failure"
FLAGS = ["TWF", "HDF", "PWF", "OSF", "RNF"]
GRADE, SPEED, TORQUE, WEAR = "Type", "Rotational speed [rpm]", "Torque [Nm]", "Tool wear [min]"
AMBIENT, PROCESS = "Air temperature [K]", "Process temperature [K]"
HONEST = [GRADE, AMBIENT, PROCESS, SPEED, TORQUE, WEAR]
GRADES = {GRADE: ("L", "M", "H")}
DERIVED = (
    Derived("power [W]", SHAFT_POWER, (TORQUE, SPEED)),
    Derived("process above air [K]", TEMPERATURE_DIFFERENCE, (PROCESS, AMBIENT)),
    Derived("wear x torque [min Nm]", TOOL_STRAIN, (WEAR, TORQUE)),
)
# Air warms and cools with the day; what carries heat off is the difference.
REPLACED = (AMBIENT, PROCESS)
BLOCK = 2_000
SEEDS = (0, 1, 2)
BOUNDS = ("F1 low", "F1 high")
RESAMPLES = 2_000
THREADS = 2
# Of the data's published description, for the row that shows what knowing the generator would give.
COLD, SLOW, LEAST_POWER, MOST_POWER = 8.6, 1_380, 3_500, 9_000
MOST_STRAIN = {"L": 11_000, "M": 12_000, "H": 13_000}

Labels = NDArray[np.int64]
Values = NDArray[np.float64]
Split = tuple[NDArray[np.int64], NDArray[np.int64]]
Figures = dict[str, Number]

_NOTES = [
    "Features are what was measured and three quantities of mechanics and heat: shaft power, the difference of the two "
    "temperatures, wear times torque; grades are ordered L, M, H. No limit of the generator's description is among "
    "them: a limit is learned, or it is not known. The boundary is a judgement: these products are what loads a "
    "spindle and a tool, but somebody who had not read the description would have tried others as well.",
    "Rounds have the seeds 0, 1, 2; sd is their spread. Low and high bound F1 in 95 % of resampled rows.",
    "Thresholds and calibration come from out-of-fold predictions on the training rows of each split.",
    "Each training keeps forest, boosting or their mean, whichever has the best F1 on rows held out of that "
    "training set. This choice has not seen the test rows.",
    "Three choices have seen the labels of this set: the settings of forest and boosting, out of about twenty that "
    "were compared by cross-validation and on the blocks (trees of 6 levels, as the strong baseline has); to choose "
    "by F1 and not by log loss; and leaving the two temperatures themselves out beside their difference.",
    "Where a gate is missed, it was tried to do better, and left. Within the first 7,000 rows, ten trainings each: a "
    "threshold at half the expected best F1 (Lipton, Elkan and Narayanaswamy, 2014), thresholds averaged over "
    "resampled rows, three partitions into folds, three seeds and always the mean of both (F1 .878 to .894, .886 as "
    "it is), and answers bound to rise with strain and wear (worse). Two of these went through the whole protocol: "
    "three partitions gave CV F1 .8849, MCC .8838, blocked F1 .8679; always the mean .8825, .8818 and .7491.",
    "The spread over rounds is several times as wide as what a gate is missed by, where one is.",
    "Rows 4,000 to 5,999 hold 108 of the 115 failures of heat. Whoever is tested on them has seen seven: that limits "
    "the blocked figure.",
    "Differences of temperatures are rounded to a millionth of a kelvin. Unrounded, the last bits of 308.6 - 300.0 "
    "tell on which side of a limit the generator's own arithmetic fell, which no machine would.",
]


def run(data: Path) -> Result:
    """The protocol of docs/benchmarks.md on every CSV file in `data`/ai4i2020. Raises FileNotFoundError."""
    files = sorted((data / "ai4i2020").glob("*.csv*"))
    if not files:
        raise FileNotFoundError(data / "ai4i2020" / "ai4i2020.csv.gz")
    table = pd.concat([pd.read_csv(file, encoding="utf-8-sig") for file in files], ignore_index=True)
    honest, labels = table[HONEST], table[LABEL].to_numpy(np.int64)
    leak_check(honest, labels)
    best = FailureClassifier(derived=DERIVED, orders=GRADES, replaced=REPLACED, threads=THREADS)
    judged = [judge(best, honest, labels, splits) for splits in protocols(labels)]
    *rounds, blocked, chronological = [figures for figures, _ in judged]
    kept = Counter(model.kept_ for _, models in judged for model in models)
    cross_validated = _over_rounds(rounds)
    metrics = {
        "forest or boosting, 3 x 5-fold": cross_validated,
        "forest or boosting, blocks of 2000 rows": blocked,
        "forest or boosting, first 70 % / last 30 %": chronological,
    }
    flags = _refused_flags(table, labels)
    counted = ", ".join(f"{name} {times} times" for name, times in kept.items())
    notes = [*_NOTES, f"Kept by F1 on rows held out of the training: {counted}."]
    gates = [
        Gate("CV F1", cross_validated["F1"], ">= 0.885"),
        Gate("CV MCC", cross_validated["MCC"], ">= 0.885"),
        Gate("CV AP", cross_validated["AP"], ">= 0.905"),
        Gate("CV Brier score", cross_validated["Brier"], "<= 0.008"),
        Gate("blocked F1", blocked["F1"], ">= 0.87"),
        Gate("chronological F1", chronological["F1"], ">= 0.84"),
        Gate("flags refused by the leak check", len(flags), ">= 1"),
    ]
    notes.append(f"With the flags among the features the leak check refuses the table, for {', '.join(flags)}.")
    return Result("ai4i", fingerprints(files), metrics, _baselines(table, labels), gates, notes, SEEDS)


def judge(
    model: FailureClassifier, frame: pd.DataFrame, labels: Labels, splits: list[Split]
) -> tuple[Figures, list[FailureClassifier]]:
    """Figures over the rows of all test parts taken together, and the models that were fitted for them."""
    probabilities, said = np.full(len(labels), np.nan), np.zeros(len(labels), np.int64)
    models = []
    for train, test in splits:
        fitted = clone(model).fit(frame.iloc[train], labels[train])
        probabilities[test] = fitted.predict_proba(frame.iloc[test])[:, 1]
        said[test] = probabilities[test] >= fitted.threshold_
        models.append(fitted)
    tested = ~np.isnan(probabilities)
    return _figures(labels[tested], said[tested], probabilities[tested]), models


def _figures(labels: Labels, said: Labels, probabilities: Values | None = None) -> Figures:
    figures: Figures = {"F1": float(f1_score(labels, said)), "MCC": float(matthews_corrcoef(labels, said))}
    figures |= dict(zip(BOUNDS, f1_interval(labels, said), strict=True))
    if probabilities is not None:
        figures["AP"] = float(average_precision_score(labels, probabilities))
        figures["Brier"] = float(brier_score_loss(labels, probabilities))
    return figures


def f1_interval(labels: Labels, said: Labels) -> tuple[float, float]:
    """Where F1 lies in 95 % of samples of as many rows, drawn from these with replacement (Efron, 1979)."""
    hits, false, missed = np.sum(labels * said), np.sum((1 - labels) * said), np.sum(labels * (1 - said))
    counts = np.array([hits, false, missed, len(labels) - hits - false - missed])
    drawn = np.random.default_rng(0).multinomial(len(labels), counts / len(labels), RESAMPLES)
    twice = 2 * drawn[:, 0]
    low, high = np.quantile(twice / np.maximum(twice + drawn[:, 1] + drawn[:, 2], 1), [0.025, 0.975])
    return float(low), float(high)


def _over_rounds(rounds: list[Figures]) -> Figures:
    names = [name for name in rounds[0] if name not in BOUNDS]
    spread = {f"{name} sd": float(np.std([each[name] for each in rounds], ddof=1)) for name in names}
    return {name: float(np.mean([each[name] for each in rounds])) for name in names} | spread


def protocols(labels: Labels) -> list[list[Split]]:
    """Three rounds of five folds, blocks of rows in their order, and one cut in time."""
    rows = np.arange(len(labels))
    rounds = [list(StratifiedKFold(5, shuffle=True, random_state=s).split(rows, labels)) for s in SEEDS]
    blocks = [(rows[rows // BLOCK != k], rows[rows // BLOCK == k]) for k in range(-(-len(rows) // BLOCK))]
    cut = int(0.7 * len(rows))
    return [*rounds, blocks, [(rows[:cut], rows[cut:])]]


def _baselines(table: pd.DataFrame, labels: Labels) -> dict[str, Figures]:
    """Trivial and strong rows under the same protocol, the leak, and what no model can surpass."""
    rounds = protocols(labels)[: len(SEEDS)]
    causes = table[["HDF", "PWF", "OSF"]].any(axis=1).to_numpy(np.int64)
    last = np.arange(len(labels)) >= int(0.7 * len(labels))
    boosting = FailureClassifier("lightgbm", orders=GRADES)
    physical = FailureClassifier("lightgbm", DERIVED, GRADES)

    def crossed(model: FailureClassifier, columns: list[str]) -> Figures:
        return _over_rounds([judge(model, table[columns], labels, splits)[0] for splits in rounds])

    return {
        "all ones": _figures(labels, np.ones_like(labels)),
        "boosting, raw columns, 3 x 5-fold": crossed(boosting, HONEST),
        "boosting, physical features, 3 x 5-fold": crossed(physical, HONEST),
        "tree of depth 6, physical features, 3 x 5-fold": _over_rounds(
            [_small_tree(table[HONEST], labels, splits) for splits in rounds]
        ),
        "the generator's own rule": _figures(labels, _generators_rule(table)),
        "LEAK: boosting with the flags, 3 x 5-fold": crossed(boosting, [*HONEST, *FLAGS]),
        "ceiling: every failure that a limit decides": _figures(labels, causes),
        "ceiling, last 30 %": _figures(labels[last], causes[last]),
    }


def _small_tree(frame: pd.DataFrame, labels: Labels, splits: list[Split]) -> Figures:
    values = DerivedQuantities(DERIVED).fit_transform(Categories(GRADES).fit_transform(frame)).to_numpy()
    said = np.zeros_like(labels)
    for train, test in splits:
        tree = DecisionTreeClassifier(max_depth=6, random_state=0).fit(values[train], labels[train])
        said[test] = tree.predict(values[test])
    return _figures(labels, said)


def _generators_rule(table: pd.DataFrame) -> Labels:
    features = DerivedQuantities(DERIVED).fit_transform(table)
    power, strain = features["power [W]"], features["wear x torque [min Nm]"]
    cold_and_slow = (features["process above air [K]"] < COLD) & (table[SPEED] < SLOW)
    strained = strain > table[GRADE].map(MOST_STRAIN)
    return np.asarray(cold_and_slow | (power < LEAST_POWER) | (power > MOST_POWER) | strained, np.int64)


def _refused_flags(table: pd.DataFrame, labels: Labels) -> list[str]:
    return [leak.column for leak in find_leaks(table[[*HONEST, *FLAGS]], labels)]

"""Refuses training columns that are the label in disguise.

A model that scores 100 % has usually been shown the answer: a column filled in after the failure, a flag of its cause,
a row number. What can be seen in the data is looked for here; whether a value is known before the event, only the
people who recorded it can say.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_numeric_dtype
from scipy.stats import binom, spearmanr
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import KFold

Reason = Literal["separates_the_label", "known_after_the_event", "row_counter", "identifier", "label_follows_the_row"]

# A single honest measurement does not tell failures apart this well (BENCHMARKS: the same limit).
LARGEST_AUC = 0.99
# A column is filled in because of the event when it leaves its most frequent value almost only then.
SHARE_OF_EVENTS = 0.99
# The chance that so many rows are events by accident, over all columns looked at.
BY_ACCIDENT = 1e-6
# Tables made by counters repeat after some rows; a period must be seen three times.
LONGEST_PERIOD = 500
# A column repeats itself when nearly every value returns after the period, and chance or standing still do not do that.
REPEATS, STANDS_STILL = 0.99, 0.9
# Of rank correlation with the row number: a wandering or ageing signal stays below, as it goes back at times.
COUNTS_ON = 0.999
# Columns of numbers with at most so many different values may be codes.
MOST_CODES = 50
LABEL = "(label)"


@dataclass(frozen=True)
class Leak:
    """A column that must not be trained on (`LABEL` when the label itself is no measurement), and why."""

    column: str
    reason: Reason
    detail: str

    def __str__(self) -> str:
        return f"{self.column}: {self.detail}"


class LeakFound(ValueError):
    """Columns give the label away; `leaks` has them."""

    code = "label_leak"

    def __init__(self, leaks: list[Leak]) -> None:
        self.leaks = leaks
        super().__init__("These columns give the answer away; leave them out. " + " ".join(map(str, leaks)))


def leak_check(X: pd.DataFrame, y: NDArray[np.int_], time: NDArray[np.datetime64] | None = None) -> None:  # noqa: N803
    """Refuse a table of features `X` (n rows) and labels `y` (n; 1 is the event) that gives its label away.

    `time` (n): when each row was taken; rows are looked at in its order, or as they come without it. Raises LeakFound.
    """
    found = find_leaks(X, y, time)
    if found:
        raise LeakFound(found)


def clock_check(X: pd.DataFrame) -> None:  # noqa: N803
    """Refuse inputs `X` (n rows in time order) of a detector that tell when a row was taken and not in what state: row
    numbers, elapsed time, counters.

    Runs that follow one timetable are told apart by these better than by any measurement. Raises LeakFound.
    """
    found = [leak for name in X.columns for leak in _clocks(X[name])]
    if found:
        raise LeakFound(found)


def find_leaks(
    X: pd.DataFrame,  # noqa: N803
    y: NDArray[np.int_],
    time: NDArray[np.datetime64] | None = None,
    largest_auc: float = LARGEST_AUC,
) -> list[Leak]:
    """Every leak, in the order of the columns; a column may have several."""
    order = np.arange(len(X)) if time is None else np.argsort(time, kind="stable")
    labels = np.asarray(y)[order]
    # The event is the rarer of the two: a label may as well say "healthy".
    events = labels == 1 if np.mean(labels == 1) <= 0.5 else labels != 1
    frame = X.iloc[order]
    leaks = [leak for name in X.columns for leak in _of_column(frame[name], events, largest_auc)]
    period = _period(events.astype(np.float64))
    if period:
        detail = (
            f"The label returns every {period} rows: it is computed from the row number, and nothing can be learned."
        )
        leaks.append(Leak(LABEL, "label_follows_the_row", detail))
    return leaks


def _of_column(column: pd.Series, events: NDArray[np.bool_], largest_auc: float) -> Iterator[Leak]:
    name = str(column.name)
    numbers, words = _numbers(column), not is_numeric_dtype(column)
    auc = _separation(numbers, words, events)
    if auc > largest_auc:
        yield Leak(name, "separates_the_label", f"It tells the label by itself (AUC {auc:.3f}).")
    yield from _after_the_event(name, numbers == pd.Series(numbers).mode()[0], events)
    if words and len(np.unique(numbers)) == len(numbers):
        yield Leak(name, "identifier", "Every row has a value of its own: it names the row and measures nothing.")
    yield from _counters(name, column, numbers, words)


def _clocks(column: pd.Series) -> Iterator[Leak]:
    yield from _counters(str(column.name), column, _numbers(column), not is_numeric_dtype(column))


def _numbers(column: pd.Series) -> NDArray[np.float64]:
    """Numbers as they are, words by order of appearance; blanks are a value of their own, as their absence may tell."""
    if is_numeric_dtype(column):
        values = column.to_numpy(np.float64, na_value=np.nan)
        known = values[np.isfinite(values)]
        return np.where(np.isfinite(values), values, (known.min() if len(known) else 0.0) - 1.0)
    return np.asarray(pd.factorize(column, use_na_sentinel=False)[0].astype(np.float64))


def _separation(numbers: NDArray[np.float64], words: bool, events: NDArray[np.bool_]) -> float:
    """Area under the ROC curve of one column, either way; of codes and words by the share of events of each, counted on
    other rows than it is judged on.
    """
    if not 0 < events.sum() < len(events):
        return 0.5
    areas = [] if words else [float(roc_auc_score(events, numbers))]
    codes = pd.factorize(numbers)[0]
    if words or codes.max() < MOST_CODES:
        shares = np.empty(len(codes))
        for train, test in KFold(5, shuffle=True, random_state=0).split(codes):
            rows = np.bincount(codes[train], minlength=codes.max() + 1)
            hits = np.bincount(codes[train], weights=events[train], minlength=codes.max() + 1)
            # A word seen a few times only tells little: one row's worth of the overall share is added.
            shares[test] = ((hits + events[train].mean()) / (rows + 1))[codes[test]]
        areas.append(float(roc_auc_score(events, shares)))
    return max(max(area, 1 - area) for area in areas)


def _after_the_event(name: str, usual: NDArray[np.bool_], events: NDArray[np.bool_]) -> Iterator[Leak]:
    """A column with one usual value that it leaves for events alone was filled in because of them."""
    rows = int(np.sum(~usual))
    hits = int(np.sum(events[~usual]))
    if usual.mean() < 0.5 or rows == 0 or hits < SHARE_OF_EVENTS * rows:
        return
    if binom.sf(hits - 1, rows, events.mean()) < BY_ACCIDENT:
        detail = f"It leaves its usual value on {rows} rows, {hits} of them events: it was known only after the event."
        yield Leak(name, "known_after_the_event", detail)


def _counters(name: str, column: pd.Series, numbers: NDArray[np.float64], words: bool) -> Iterator[Leak]:
    period = _period(numbers)
    if period:
        yield Leak(name, "row_counter", f"It returns every {period} rows: it is computed from the row number.")
        return
    counted = _trailing_numbers(column) if words else numbers
    if counted is None or len(counted) < 3 or np.ptp(counted) == 0:
        return
    if abs(float(spearmanr(np.arange(len(counted)), counted)[0])) > COUNTS_ON:
        yield Leak(name, "row_counter", "It rises or falls with the row number: it tells when, not in what state.")


def _trailing_numbers(column: pd.Series) -> NDArray[np.float64] | None:
    """The number at the end of each word ("S_17"), or the time a word says; None where not every word has one."""
    words = column.astype(str)
    times = pd.to_datetime(words, errors="coerce", format="ISO8601", utc=True)
    if times.notna().all():
        return np.asarray(times.astype(np.int64).to_numpy(np.float64))
    ends = words.str.extract(r"(\d+)$", expand=False)
    return None if ends.isna().any() else np.asarray(ends.to_numpy(np.float64))


def _period(numbers: NDArray[np.float64]) -> int | None:
    """The number of rows after which values return, if they do and neither chance nor standing still explains it."""
    codes = pd.factorize(numbers)[0]
    by_chance = np.sum((np.bincount(codes) / len(codes)) ** 2)
    if len(codes) < 3 or max(by_chance, np.mean(codes[1:] == codes[:-1])) > STANDS_STILL:
        return None
    for period in range(2, min(LONGEST_PERIOD, len(codes) // 3) + 1):
        if np.mean(codes[period:] == codes[:-period]) >= REPEATS:
            return period
    return None

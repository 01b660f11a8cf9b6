"""What detectors that look at stretches of one signal share: gaps, trailing windows, the signal's period."""

from collections.abc import Callable

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from mlops.detectors.base import Frame, NotEnoughData

Floats = NDArray[np.float64]

# A pause of more than this many usual steps ends a stretch: what lies before it says nothing about what follows.
LONGEST_PAUSE_STEPS = 10
# A period must be this clear in the autocorrelation (of a pure one it is 1).
CLEAR_PERIOD = 0.2
# A period counts once the signal has shown it this often.
PERIODS_SEEN = 3
# A period of fewer rows is the noise's own rhythm.
SHORTEST_PERIOD = 8
# Rows that are looked at together: their windows take some megabytes.
ROWS_AT_ONCE = 8192


def only_channel(frame: Frame) -> Floats:
    """The values of a frame of one sensor, shape (n,). Raises ValueError for a frame of several."""
    if frame.values.shape[1] != 1:
        raise ValueError(f"This detector reads one sensor, not {frame.values.shape[1]}.")
    values: Floats = frame.values[:, 0]
    return values


def usual_step(timestamps: NDArray[np.int64]) -> float:
    """The median time between two rows, in microseconds."""
    return float(np.median(np.diff(timestamps))) if len(timestamps) > 1 else 0.0


def centre_and_scale(values: Floats, fewest: int) -> tuple[float, float]:
    """Mean and standard deviation of the known values.

    Raises NotEnoughData when fewer than `fewest` are known or all are alike.
    """
    known = values[np.isfinite(values)]
    if len(known) < fewest:
        raise NotEnoughData(f"{len(known)} readings are too few to learn from; {fewest} are needed.")
    centre, scale = float(np.mean(known)), float(np.std(known))
    if scale <= 1e-12 * max(abs(centre), 1e-300):
        raise NotEnoughData("The readings are all alike: they show no scale to measure by.")
    return centre, scale


def bridged(frame: Frame, step: float, reach: int) -> Floats:
    """The values with holes of up to `reach` rows filled by the last known value, except across a long pause.

    What follows a long pause starts anew: see `ages`.
    """
    values = only_channel(frame)
    rows = np.arange(len(values))
    last = np.maximum.accumulate(np.where(np.isfinite(values), rows, -1))
    usable = (last >= 0) & (rows - last <= reach) & (last >= rows - ages(frame.timestamps, step))
    return np.where(usable, values[last], np.nan)


def ages(timestamps: NDArray[np.int64], step: float) -> NDArray[np.int64]:
    """How many rows lie between each row and the last long pause (or the beginning of the frame)."""
    rows = np.arange(len(timestamps))
    pauses = (
        np.diff(timestamps, prepend=timestamps[:1]) > LONGEST_PAUSE_STEPS * step if step else np.zeros(len(rows), bool)
    )
    return rows - np.maximum.accumulate(np.where(pauses, rows, 0))


def over_windows(frame: Frame, width: int, step: float, measure: Callable[[Floats], Floats]) -> Floats:
    """What `measure` says of the `width` rows up to each row: it takes (k, width) and gives (k,).

    NaN where the row itself is unknown, or its window has rows that are unknown or lie before a long pause. Looks at
    2 * width - 2 rows before each row, as holes are bridged by what was known before them.
    """
    values = bridged(frame, step, width - 1)
    result = np.full(len(values), np.nan)
    if len(values) < width:
        return result
    windows = sliding_window_view(values, width)
    usable = np.isfinite(only_channel(frame)) & (ages(frame.timestamps, step) >= width - 1)
    holes = np.cumsum(np.isnan(np.concatenate([[0.0], values])))
    usable[width - 1 :] &= holes[width:] == holes[:-width]
    chosen = np.flatnonzero(usable)
    for start in range(0, len(chosen), ROWS_AT_ONCE):
        part = chosen[start : start + ROWS_AT_ONCE]
        result[part] = measure(windows[part - width + 1])
    return result


def collected(frame: Frame, width: int, step: float, prepared: Callable[[Floats], Floats]) -> Floats:
    """The windows of a frame that are without holes, as `prepared` gives them; shape (k, width)."""
    seen: list[Floats] = []

    def keep(part: Floats) -> Floats:
        seen.append(prepared(part))
        return np.zeros(len(part))

    over_windows(frame, width, step, keep)
    return np.concatenate(seen) if seen else np.empty((0, width))


def period(values: Floats, longest: int) -> int | None:
    """The lag in rows at which the signal is most like itself, or None where it has no clear period up to `longest`.

    The highest local maximum of the autocorrelation, as in TSB-AD (Liu and Paparrizos, 2024). Unknown values count as
    the mean, a straight trend is taken out.
    """
    count = len(values)
    longest = min(longest, count // PERIODS_SEEN)
    if longest <= SHORTEST_PERIOD:
        return None
    found = autocorrelation(values, longest + 1)
    inner = found[1:-1]
    peaks = 1 + np.flatnonzero((inner > found[:-2]) & (inner >= found[2:]))
    peaks = peaks[(peaks >= SHORTEST_PERIOD) & (found[peaks] >= CLEAR_PERIOD)]
    return int(peaks[np.argmax(found[peaks])]) if len(peaks) else None


def autocorrelation(values: Floats, lags: int) -> Floats:
    """For lags 0 to `lags`, of the known values about their straight trend; 1 at lag 0. Shape (lags + 1,).

    The sum at each lag is not divided by its number of pairs: so it falls with the lag, and of a period and its
    multiples the period is highest.
    """
    rows, known = np.arange(len(values)), np.isfinite(values)
    slope, level = np.polyfit(rows[known], values[known], 1)
    rest = np.where(known, values - level - slope * rows, 0.0)
    size = 1 << (2 * len(rest) - 1).bit_length()
    products = np.fft.irfft(np.abs(np.fft.rfft(rest, size)) ** 2, size)[: lags + 1]
    return products / products[0] if products[0] > 0 else np.zeros(lags + 1)


def whole_contribution(score: Floats) -> Floats:
    """Shares of the only channel in its scores, shape (n, 1): 1, 0 where the score is 0, NaN where it is NaN."""
    return np.where(np.isnan(score), np.nan, (score > 0).astype(float))[:, None]

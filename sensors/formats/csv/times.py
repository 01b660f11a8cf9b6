"""Columns of times as text into microseconds UTC, a whole column at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sensors.formats.csv.arrow import pa, pc
from sensors.formats.csv.layout import TimeFormat

# Microseconds in one unit of the number.
EPOCHS = {
    TimeFormat.EPOCH_S: 1e6,
    TimeFormat.EPOCH_MS: 1e3,
    TimeFormat.EPOCH_US: 1.0,
    TimeFormat.EPOCH_NS: 1e-3,
}
# The years 1 to 9999: what both Python and PostgreSQL know as a time.
FIRST_US, LAST_US = -62_135_596_800_000_000, 253_402_300_799_999_999
# No zone has ever changed its offset between two quarters of an hour (in UTC or on its wall clock) since 1972.
QUARTER_US = 900_000_000
HALF_DAY_US = 43_200_000_000
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - wall clocks have no zone here.
MICROSECOND = timedelta(microseconds=1)
NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_SEPARATED = r"^(\d{1,2})[./-](\d{1,2})[./-](\d{4})(.*)$"
# 31.12.25 -> 31.12.2025. Readings before 1980 are refused (sensors.checks), so 80 to 99 are of the last century.
_CENTURIES = (
    (r"^(\d{1,2}[./-]\d{1,2}[./-])([0-7]\d)(\D.*)?$", r"\120\2\3"),
    (r"^(\d{1,2}[./-]\d{1,2}[./-])([89]\d)(\D.*)?$", r"\119\2\3"),
)
# Spreadsheets and browsers put narrow and unbreakable spaces into "1:05 p. m.".
_HALF = r"(?i)[\s\x{a0}\x{202f}]*(?P<half>[ap])\.?[\s\x{a0}\x{202f}]?m\.?$"

Texts = Any  # pyarrow's arrays have no types of their own.


class Times:
    """`us` are microseconds since 1970 on the clock the text was written by: UTC where `zoned`. `bad` are no times."""

    def __init__(self, us: NDArray[np.int64], zoned: NDArray[np.bool_], bad: NDArray[np.bool_]) -> None:
        self.bad = bad | (us < FIRST_US) | (us > LAST_US)
        self.us = np.where(self.bad, 0, us)
        self.zoned = zoned


def parse_times(texts: Texts, time_format: TimeFormat) -> Times:
    texts = pc.utf8_trim_whitespace(texts)
    if time_format in EPOCHS:
        return _epochs(texts, time_format)
    if time_format is TimeFormat.ISO and (found := _iso_at_once(texts)):
        return found
    half = pc.extract_regex(texts, _HALF)
    twelve_hours = half.null_count < len(texts)
    if twelve_hours:
        texts = pc.replace_substring_regex(texts, _HALF, "")
    if time_format is not TimeFormat.ISO:
        for pattern, replacement in _CENTURIES:
            texts = pc.replace_substring_regex(texts, pattern, replacement)
        order = r"\3-\2-\1\4" if time_format is TimeFormat.DAY_FIRST else r"\3-\1-\2\4"
        texts = pc.replace_substring_regex(texts, _SEPARATED, order)
    times = _iso(_padded(texts))
    return _in_whole_days(times, half) if twelve_hours else times


def _padded(texts: Texts) -> Texts:
    """2026-1-5 9:30:00,5 -> 2026-01-05 09:30:00.5"""
    for pattern, replacement in (
        (r"^(\d{4})-(\d)-", r"\1-0\2-"),
        (r"^(\d{4}-\d\d)-(\d)([ T]|$)", r"\1-0\2\3"),
        (r"^(\S+)[ T]+(\d):", r"\1 0\2:"),
        (r"(:\d\d),(\d+)", r"\1.\2"),
    ):
        texts = pc.replace_substring_regex(texts, pattern, replacement)
    return texts


def _in_whole_days(times: Times, half: Texts) -> Times:
    """From the hours 12, 1 .. 11 of each half of a day to 0 .. 23."""
    marks = np.array([mark and mark["half"].lower() for mark in half.to_pylist()], object)
    hours = times.us // 3_600_000_000 % 24
    shift = np.where((marks == "p") & (hours < 12), HALF_DAY_US, 0)
    shift = np.where((marks == "a") & (hours == 12), -HALF_DAY_US, shift)
    return Times(times.us + shift, times.zoned, times.bad)


def _epochs(texts: Texts, time_format: TimeFormat) -> Times:
    good = _mask(pc.match_substring_regex(texts, NUMBER))
    if time_format is not TimeFormat.EPOCH_S and not _mask(pc.match_substring(texts, ".")).any():
        # Nanoseconds have more digits than a float carries.
        try:
            whole = _numpy(pc.if_else(pa.array(good), texts, "0").cast(pa.int64()))
            us = whole // 1000 if time_format is TimeFormat.EPOCH_NS else whole * int(EPOCHS[time_format])
            return Times(us, np.ones(len(us), bool), ~good)
        except pa.ArrowInvalid:
            pass
    seconds = _numpy(pc.if_else(pa.array(good), texts, "0").cast(pa.float64())) * EPOCHS[time_format]
    outside = ~(np.abs(seconds) < LAST_US)
    us = np.rint(np.where(outside, 0, seconds)).astype(np.int64)
    return Times(us, np.ones(len(us), bool), ~good | outside)


def _iso(texts: Texts) -> Times:
    return _iso_at_once(texts) or _iso_row_by_row(texts.to_pylist())


def _iso_at_once(texts: Texts) -> Times | None:
    for kind, zoned in ((pa.timestamp("us", "UTC"), True), (pa.timestamp("us"), False)):
        try:
            us = _numpy(texts.cast(kind).cast(pa.int64()))
            return Times(us, np.full(len(us), zoned), np.zeros(len(us), bool))
        except pa.ArrowInvalid:
            pass
    return None


def _iso_row_by_row(texts: list[str]) -> Times:
    """The slow way, for columns with a bad time, with and without zones mixed, or with more than six decimals."""
    us, zoned, bad = np.zeros(len(texts), np.int64), np.zeros(len(texts), bool), np.zeros(len(texts), bool)
    for row, text in enumerate(texts):
        try:
            at = datetime.fromisoformat(text)
            zoned[row] = at.tzinfo is not None
            us[row] = ((at.astimezone(UTC) if at.tzinfo else at).replace(tzinfo=None) - EPOCH) // MICROSECOND
        except (ValueError, OverflowError):
            bad[row] = True
    return Times(us, zoned, bad)


def _numpy(values: Texts) -> NDArray[Any]:
    found: NDArray[Any] = values.to_numpy(zero_copy_only=False)
    return found


def _mask(values: Texts) -> NDArray[np.bool_]:
    return _numpy(values).astype(bool)


# For each sensor (in its order in the file) the time on the wall clock and the pass of the last row, where that row lay
# in the hour that comes twice.
ClockState = dict[str, tuple[int, int]]


class Clock:
    """Puts times without a zone into one, block after block.

    In autumn an hour comes twice: when the times of a sensor step back inside it, its second pass has begun.
    """

    def __init__(self, zone: tzinfo, state: ClockState) -> None:
        self.zone = zone
        self.state = state

    def to_utc(self, us: NDArray[np.int64], names: list[str], codes: NDArray[np.int64]) -> NDArray[np.int64]:
        """UTC of the wall clock's `us`, in the order of the file; `names[codes[i]]` is the sensor of row i."""
        quarters, place = np.unique(us // QUARTER_US, return_inverse=True)
        first, second = np.array([self._offsets(int(quarter)) for quarter in quarters], np.int64).reshape(-1, 2).T
        twice = (first > second)[place]
        if not twice.any():
            self.state.clear()
            return us - first[place]
        fold = self._folds(us, names, codes, twice)
        return us - np.where(fold, second[place], first[place])

    def _offsets(self, quarter: int) -> tuple[int, int]:
        """Microseconds ahead of UTC, in the first and in the second pass of this quarter of an hour."""
        try:
            at = EPOCH + timedelta(microseconds=quarter * QUARTER_US)
            found = [self.zone.utcoffset(at.replace(fold=fold)) or timedelta(0) for fold in (0, 1)]
        except OverflowError:
            return 0, 0
        # In spring an hour is missing; its times are read as if the clock had not been changed yet.
        return found[0] // MICROSECOND, min(found) // MICROSECOND if found[0] > found[1] else found[0] // MICROSECOND

    def _folds(
        self, us: NDArray[np.int64], names: list[str], codes: NDArray[np.int64], twice: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        fold = np.zeros(len(us), bool)
        before: dict[int, tuple[int, bool, int]] = {
            code: (self.state[name][0], True, self.state[name][1])
            for code, name in enumerate(names)
            if name in self.state
        }
        for row, (code, at, again) in enumerate(zip(codes.tolist(), us.tolist(), twice.tolist(), strict=True)):
            passed = 0
            if again and code in before:
                last, last_again, last_pass = before[code]
                passed = 1 if at < last else last_pass if last_again else 0
            fold[row] = passed
            before[code] = (at, again, passed)
        self.state.clear()
        self.state.update({names[code]: (at, passed) for code, (at, again, passed) in before.items() if again})
        return fold

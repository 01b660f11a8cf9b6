"""Which readings a sensor is measured against: those before a block of time, learned once per block and then kept.

A reading's block follows from its timestamp and the sensor's first reading. In a sensor's first day a block begins
whenever the history has doubled; after that, every hour. A `Baseline` row is learned from what is stored when it
is first needed and never changes, so that scoring again gives the same scores; readings that come in later than that
are not in it. Stretches that a person excluded, or marked as a past failure, are not learned from.
"""

from datetime import UTC, datetime
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from mlops.detectors import robust
from mlops.detectors.robust import DAY_US, HOUR_US, Profile, Profiles
from mlops.models import Baseline
from sensors import history
from sensors.arrays import Bigints, Timestamps, numpy_cursor

MINUTE_US = 60_000_000
FIRST_BLOCK_US = 5_000_000
BLOCK_US = HOUR_US
HISTORY_US = 14 * DAY_US
# A day and more of history is looked at every five minutes: 4,032 readings at most, whatever the sensor's rate.
SAMPLE_STEP_US = 300_000_000
# A shorter history is looked at this many times, which tells its spread to about 7 %. It is learned from some fifteen
# times in that day: with a thousand looks each a new fleet costs more to learn than to score.
SAMPLES_OF_FIRST_DAY = 300

Times = NDArray[np.int64]
Block = tuple[int, int]  # (sensor's primary key, start of the block in microseconds UTC)


def profiles_at(timestamps: Times, sensors: Times) -> tuple[Profiles, Times]:
    """The profiles of the blocks these readings lie in, and which of them is that of each reading.

    Readings are in time order, sensor by sensor; times in microseconds UTC. Nothing is known where a sensor had too few
    good readings before a block. Missing profiles are learned and kept.
    """
    hours = hour_starts(timestamps, sensors)
    opens = _changes(hours, sensors)
    profiles, is_stored = _stored(sensors[opens], hours[opens])
    which = np.cumsum(opens) - 1
    # Blocks of a sensor's first day know of less than a day. What knows of more is the hour's, and when the sensor's
    # first reading was need not be looked up.
    is_the_hours = is_stored & (profiles.span_seconds >= DAY_US / 1e6)
    if is_the_hours.all():
        return profiles, which
    others = ~is_the_hours[which]
    rest, which[others] = _profiles_by_age(timestamps[others], sensors[others])
    which[others] += len(profiles)
    return Profiles.together(profiles, rest), which


def _profiles_by_age(timestamps: Times, sensors: Times) -> tuple[Profiles, Times]:
    """The same, by when each sensor's first reading was."""
    begins = _changes(sensors)
    firsts = history.firsts(sensors[begins])[np.cumsum(begins) - 1]
    starts = _block_starts(timestamps, sensors, firsts)
    opens = _changes(starts, sensors)
    return _profiles_of(sensors[opens], starts[opens], firsts[opens]), np.cumsum(opens) - 1


def _block_starts(timestamps: Times, sensors: Times, firsts: Times) -> Times:
    """The start of the block of each timestamp, of these sensors first read at `firsts`."""
    ages = np.maximum(timestamps - firsts, 0)
    doublings = np.floor(np.log2(np.maximum(ages, FIRST_BLOCK_US) / FIRST_BLOCK_US))
    young = firsts + np.where(ages < FIRST_BLOCK_US, 0, FIRST_BLOCK_US * 2**doublings).astype(np.int64)
    return np.where(ages < DAY_US, young, hour_starts(timestamps, sensors))


def hour_starts(timestamps: Times, sensors: Times) -> Times:
    """The start of the hour's block of each timestamp."""
    # Each sensor's blocks begin at a minute of its own, or all of them would learn at once.
    offsets = sensors * 7 * MINUTE_US % BLOCK_US
    return (timestamps - offsets) // BLOCK_US * BLOCK_US + offsets


def _changes(*columns: Times) -> NDArray[np.bool_]:
    """Which rows differ from the one before them; the first one does."""
    changed = np.ones(len(columns[0]), bool)
    changed[1:] = reduce(np.logical_or, (column[1:] != column[:-1] for column in columns))
    return changed


def _profiles_of(sensors: Times, starts: Times, firsts: Times) -> Profiles:
    """The profiles of blocks: of these sensors, first read at `firsts`, from these starts on."""
    profiles, is_stored = _stored(sensors, starts)
    if is_stored.all():
        return profiles
    missing = list(map(np.ndarray.tolist, (sensors[~is_stored], starts[~is_stored], firsts[~is_stored])))
    learned = _learn(set(zip(*missing[:2], strict=True)), dict(zip(missing[0], missing[2], strict=True)))
    Baseline.objects.bulk_create(map(_row, learned, learned.values()), ignore_conflicts=True)
    # Read back: of two workers that learned the same block at once, the row of the first serves both.
    return _stored(sensors, starts)[0]


def _stored(sensors: Times, starts: Times) -> tuple[Profiles, NDArray[np.bool_]]:
    """The profiles of blocks as far as they were learned already, and which those are."""
    profiles, is_stored = Profiles.unknown(len(sensors)), np.zeros(len(sensors), bool)
    with numpy_cursor() as cursor:
        cursor.execute(
            """
            SELECT array_agg(block.number), array_agg(b.readings::bigint), array_agg(b.span_seconds),
                array_agg(coalesce(b.median, 'NaN')), array_agg(coalesce(b.spread, 1)),
                array_agg(block.number) FILTER (WHERE cardinality(b.hour_offsets) = 24),
                array_agg(b.hour_offsets) FILTER (WHERE cardinality(b.hour_offsets) = 24)
            FROM unnest(%s, %s) WITH ORDINALITY AS block(sensor, start, number)
            JOIN mlops_baseline b ON b.sensor_id = block.sensor AND b.valid_from = block.start
            """,
            [Bigints(sensors), Timestamps(starts)],
        )
        [(numbers, *columns, with_pattern, hour_offsets)] = cursor.fetchall()
    if numbers is not None:
        is_stored[numbers - 1] = True
        names = (profiles.readings, profiles.span_seconds, profiles.medians, profiles.spreads)
        for name, column in zip(names, columns, strict=True):
            name[numbers - 1] = column
    if with_pattern is not None:
        profiles.hour_offsets[with_pattern - 1] = hour_offsets.reshape(-1, 24)
    return profiles, is_stored


def _row(block: Block, profile: Profile | None) -> Baseline:
    row = Baseline(sensor_id=block[0], valid_from=_datetime(block[1]), readings=0, span_seconds=0)
    if profile:
        row.readings, row.span_seconds = profile.readings, profile.span_seconds
        row.median, row.spread, row.hour_offsets = profile.median, profile.spread, list(profile.hour_offsets)
    return row


def _learn(blocks: set[Block], firsts: dict[int, int]) -> dict[Block, Profile | None]:
    windows = {}
    long_blocks: dict[int, list[int]] = {}
    for sensor, start in blocks:
        if start - firsts[sensor] < DAY_US:
            step = max((start - firsts[sensor]) // SAMPLES_OF_FIRST_DAY, 1)
            windows[sensor, start] = history.Window(sensor, firsts[sensor], start, step)
        else:
            long_blocks.setdefault(sensor, []).append(start)
    window_of: dict[Block, Block] = {}
    for sensor, starts in long_blocks.items():
        for run in _runs(sorted(starts)):
            # One sample serves all blocks whose histories overlap: its grid does not depend on the block.
            oldest = max(run[0] - HISTORY_US, firsts[sensor]) // SAMPLE_STEP_US * SAMPLE_STEP_US
            windows[sensor, run[0]] = history.Window(sensor, oldest, run[-1], SAMPLE_STEP_US)
            window_of |= {(sensor, start): (sensor, run[0]) for start in run}
    samples = dict(zip(windows, history.samples(list(windows.values())), strict=True))
    for sensor, stretches in history.unlearnable({sensor for sensor, _ in windows}).items():
        for key in windows:
            if key[0] == sensor:
                samples[key] = _without(samples[key], stretches)
    learned: dict[Block, Profile | None] = {}
    for sensor, start in blocks:
        timestamps, values = samples[window_of.get((sensor, start), (sensor, start))]
        part = slice(*np.searchsorted(timestamps, [start - HISTORY_US, start]))
        learned[sensor, start] = robust.learn(timestamps[part], values[part])
    return learned


def _without(series: history.Series, stretches: list[tuple[int, int]]) -> history.Series:
    timestamps, values = series
    keep = np.ones(len(timestamps), bool)
    for start, end in stretches:
        keep &= (timestamps < start) | (timestamps > end)
    return timestamps[keep], values[keep]


def _runs(starts: list[int]) -> list[list[int]]:
    """Sorted block starts, split where two lie further apart than a history reaches."""
    runs: list[list[int]] = []
    for start in starts:
        if runs and start - runs[-1][-1] <= HISTORY_US:
            runs[-1].append(start)
        else:
            runs.append([start])
    return runs


def _datetime(us: int) -> datetime:
    return datetime.fromtimestamp(us / 1e6, UTC)

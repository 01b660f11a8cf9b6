"""Which readings a sensor is measured against: those before a block of time, learned once per block and then kept.

A reading's block follows from its timestamp and the sensor's first reading alone, and a `Baseline` row never changes,
so that neither the order of batches nor a second scoring can change a score. In a sensor's first day a block begins
whenever the history has doubled; after that, every hour.
"""

from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from mlops.detectors import robust
from mlops.detectors.robust import DAY_US, HOUR_US, Profile
from mlops.models import Baseline
from sensors import history

FIRST_BLOCK_US = 5_000_000
HISTORY_US = 14 * DAY_US
# A day and more of history is looked at every five minutes: 4,032 readings at most, whatever the sensor's rate.
SAMPLE_STEP_US = 300_000_000
# A shorter history is looked at this many times.
SAMPLES_OF_FIRST_DAY = 1000

Block = tuple[int, int]  # (sensor's primary key, start of the block in microseconds UTC)


def block_starts(timestamps: NDArray[np.int64], first: int) -> NDArray[np.int64]:
    """The start of the block of each timestamp, for a sensor first read at `first` (all in microseconds UTC)."""
    ages = np.maximum(timestamps - first, 0)
    doublings = np.floor(np.log2(np.maximum(ages, FIRST_BLOCK_US) / FIRST_BLOCK_US))
    young = first + np.where(ages < FIRST_BLOCK_US, 0, FIRST_BLOCK_US * 2**doublings).astype(np.int64)
    return np.where(ages < DAY_US, young, timestamps // HOUR_US * HOUR_US)


def profiles_of(blocks: set[Block], firsts: dict[int, int]) -> dict[Block, Profile | None]:
    """The profile of every block; None where a sensor had too few good readings before it. Missing ones are learned and
    kept.
    """
    found = _stored(blocks)
    if missing := blocks - found.keys():
        learned = _learn(missing, firsts)
        Baseline.objects.bulk_create((_row(block, learned[block]) for block in missing), ignore_conflicts=True)
        # Read back: of two workers that learned the same block at once, the row of the first serves both.
        found |= _stored(missing)
    return found


def _stored(blocks: set[Block]) -> dict[Block, Profile | None]:
    rows = Baseline.objects.filter(
        sensor__in={sensor for sensor, _ in blocks}, valid_from__in={_datetime(start) for _, start in blocks}
    )
    found: dict[Block, Profile | None] = {}
    for row in rows:
        block = (row.sensor_id, round(row.valid_from.timestamp() * 1e6))
        if block in blocks:
            found[block] = (
                None
                if row.median is None or row.spread is None
                else Profile(row.readings, row.span_seconds, row.median, row.spread, tuple(row.hour_offsets))
            )
    return found


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
    for sensor, starts in long_blocks.items():
        # One sample serves all hourly blocks of a sensor: its grid does not depend on the block.
        oldest = max(min(starts) - HISTORY_US, firsts[sensor] // SAMPLE_STEP_US * SAMPLE_STEP_US)
        windows[sensor, 0] = history.Window(sensor, oldest, max(starts), SAMPLE_STEP_US)
    samples = dict(zip(windows, history.samples(list(windows.values())), strict=True))
    learned: dict[Block, Profile | None] = {}
    for sensor, start in blocks:
        timestamps, values = samples.get((sensor, start)) or samples[sensor, 0]
        part = slice(*np.searchsorted(timestamps, [start - HISTORY_US, start]))
        learned[sensor, start] = robust.learn(timestamps[part], values[part])
    return learned


def _datetime(us: int) -> datetime:
    return datetime.fromtimestamp(us / 1e6, UTC)

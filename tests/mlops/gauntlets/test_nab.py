"""The score of NAB against answers published with its scorer, and the gauntlet on files of its layout."""

import gzip
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from django.conf import settings

from mlops.gauntlets import nab, nab_score
from mlops.gauntlets.nab_score import PROFILES, Profile

STANDARD = PROFILES["standard"]
# The weights that NAB's own tests use.
EVEN = Profile(1.0, 1.0, 1.0)
LONG = 10_000  # A window this far in lies behind the probation.

NAB = settings.DATA_DIR / "nab"
needs_data = pytest.mark.skipif(not NAB.exists(), reason="the data folder is not there; set DATA_DIR")


def test_a_found_window_a_missed_one_and_a_false_detection_score_as_in_nabs_own_test() -> None:
    # NAB's testScoringAllMetrics: two windows of 5 rows, hits at the first's first two, one 3 rows behind it: -0.9540.
    windows = [(LONG, LONG + 4), (LONG + 40, LONG + 44)]
    score = nab_score.raw((2 * LONG, windows, [LONG, LONG + 1, LONG + 7]), EVEN)
    assert score == pytest.approx(-0.9540, abs=5e-5)


@pytest.mark.parametrize(("false", "windows", "published"), [(1, 1, -1.11), (4, 2, -2.44)])
def test_false_detections_before_every_window_score_as_published_for_the_windowed_gaussian(
    false: int, windows: int, published: float
) -> None:
    spans = [(LONG + 1000 * n, LONG + 1000 * n + 100) for n in range(windows)]
    assert nab_score.raw((2 * LONG, spans, [2000 + n for n in range(false)]), STANDARD) == pytest.approx(published)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=list(PROFILES))
def test_silence_is_0_and_finding_every_window_at_once_is_100(profile: Profile) -> None:
    windows = [(1000, 1100), (1500, 1600)]
    assert nab_score.normalised([(3000, windows, [])], profile) == 0
    assert nab_score.normalised([(3000, windows, [1000, 1500])], profile) == pytest.approx(100)


def test_only_the_earliest_detection_in_a_window_counts() -> None:
    one, more = (nab_score.raw((3000, [(1000, 1100)], rows), STANDARD) for rows in ([1010], [1010, 1011, 1090]))
    assert one == more


def test_a_window_is_worth_less_the_later_it_is_found() -> None:
    scores = [nab_score.raw((3000, [(1000, 1100)], [row]), STANDARD) for row in range(1000, 1101)]
    assert all(earlier > later for earlier, later in pairwise(scores))
    assert scores[-1] > 0


def test_a_false_detection_weighs_less_soon_after_a_window() -> None:
    soon, late = (nab_score.raw((3000, [(1000, 1100)], [1000, row]), STANDARD) for row in (1105, 1900))
    assert soon > late == pytest.approx(1 - STANDARD.false)


def test_nothing_is_counted_in_the_probation_and_it_ends_at_750_rows() -> None:
    assert nab_score.probation(1882) == 282
    assert nab_score.probation(100_000) == 750
    assert nab_score.raw((1000, [(500, 510)], [10, 149]), STANDARD) == -1


@pytest.mark.data
@needs_data
def test_windows_and_probation_leave_as_many_rows_as_published_for_the_null_detector() -> None:
    # numenta/NAB, results/null/null_standard_scores.csv: rows outside and inside of windows.
    published = {
        "cpu_utilization_asg_misconfiguration": (15_801, 1_499),
        "ec2_request_latency_system_failure": (3_082, 346),
        "machine_temperature_system_failure": (19_677, 2_268),
        "nyc_taxi": (8_535, 1_035),
        "rogue_agent_key_hold": (1_410, 190),
        "rogue_agent_key_updown": (4_035, 530),
    }
    for file in nab.read(NAB):
        inside = sum(last - first + 1 for first, last in file.windows)
        outside = len(file.frame) - nab_score.probation(len(file.frame)) - inside
        assert (outside, inside) == published[file.name]


def write_series(folder: Path, name: str, seed: int) -> None:
    """Two months of a daily rhythm, a reading every half hour; the machine stands still for two days."""
    rows = np.arange(60 * 48)
    values = 50 + 10 * np.sin(2 * np.pi * rows / 48) + np.random.default_rng(seed).normal(0, 1, len(rows))
    values[2000:2096] = 0
    stamps = np.datetime64("2024-03-01T00:00:00") + rows * np.timedelta64(30, "m")
    lines = [f"{str(stamp).replace('T', ' ')},{value:.3f}" for stamp, value in zip(stamps, values, strict=True)]
    (folder / "realKnownCause").mkdir(parents=True, exist_ok=True)
    with gzip.open(folder / "realKnownCause" / f"{name}.csv.gz", "wt") as file:
        file.write("\n".join(["timestamp,value", *lines]))
    window = [f"{str(stamps[row]).replace('T', ' ')}.000000" for row in (1980, 2120)]
    labels = folder / "combined_windows.json"
    known = json.loads(labels.read_text()) if labels.exists() else {}
    labels.write_text(json.dumps(known | {f"realKnownCause/{name}.csv": [window]}))


def test_it_runs_on_other_files_of_the_same_layout(tmp_path: Path) -> None:
    for seed, name in enumerate(["pump", "fan"]):
        write_series(tmp_path / "nab", name, seed)
    result = nab.run(tmp_path)
    assert sorted(result.data) == ["combined_windows.json", "fan.csv.gz", "pump.csv.gz"]
    assert result.metrics["ensemble"]["windows found"] == 2
    # 51 days of each file are scored at one false event in 14 days, which a threshold keeps within a factor of three.
    assert result.metrics["ensemble"]["false events"] <= 3 * 2 * 51 / 14
    assert result.metrics["ensemble"]["standard"] > 50
    assert result.baselines["null"]["standard"] == 0
    assert result.baselines["perfect"]["standard"] == pytest.approx(100)
    assert [gate.name for gate in result.gates] == ["ensemble, standard profile"]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nab"):
        nab.run(tmp_path)


@pytest.mark.data
@needs_data
def test_every_gate_holds_on_the_published_files() -> None:
    gates = nab.run(settings.DATA_DIR).gates
    assert len(gates) == 3
    assert [gate.name for gate in gates if not gate.holds] == []

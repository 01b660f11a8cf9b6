"""The gauntlet on the simulated plant: what it counts, and one machine of it.

The whole takes half a minute and is run by `manage.py gauntlet synthetic`.
"""

from pathlib import Path

import numpy as np
import pytest

from mlops import gauntlets
from mlops.gauntlets import synthetic
from mlops.gauntlets.synthetic import TESTED_FROM, TESTED_UNTIL, Alarms, Plant, simulated
from sensors.simulator import MOTOR, PUMP

HOUR_US = 3_600_000_000
FAST = round(0.25 * 24) * HOUR_US
SLOW = 3 * 24 * HOUR_US


@pytest.fixture(scope="module")
def pump() -> Plant:
    return simulated(PUMP, 1)


def figures(plant: Plant, alarms: Alarms) -> dict[str, gauntlets.Number]:
    return synthetic.figures([plant], [alarms])


def test_the_same_plant_comes_again_and_another_seed_gives_other_noise(pump: Plant) -> None:
    again, other = simulated(PUMP, 1), simulated(PUMP, 2)
    np.testing.assert_array_equal(pump.series["flow"], again.series["flow"])
    assert not np.array_equal(pump.series["flow"][1][:1000], other.series["flow"][1][:1000])


def test_each_machine_has_a_fast_and_a_slow_fault_and_learns_from_none(pump: Plant) -> None:
    for plant in (pump, simulated(MOTOR, 1)):
        assert [end - onset for onset, end in plant.faults] == [FAST, SLOW]
        assert all(TESTED_FROM < onset < end < TESTED_UNTIL for onset, end in plant.faults)


def test_a_fault_shows_in_the_readings_and_is_over_when_repaired(pump: Plant) -> None:
    (_, end), _ = pump.faults
    timestamps, vibration = pump.series["vibration"]
    worn = (timestamps > end - HOUR_US) & (timestamps < end)
    repaired = (timestamps > end) & (timestamps < end + HOUR_US)
    assert np.median(vibration[worn]) > 2 * np.median(vibration[repaired])


def test_the_first_alarm_of_any_sensor_finds_a_fault(pump: Plant) -> None:
    (fast, _), (slow, _) = pump.faults
    alarms = {
        "flow": [(fast + 3 * HOUR_US, fast + 4 * HOUR_US), (slow + 6 * HOUR_US, slow + 7 * HOUR_US)],
        "current": [(fast + HOUR_US, fast + 2 * HOUR_US)],
    }
    found = figures(pump, alarms)
    assert found["found %"] == 100
    assert found["delay of fast faults, h"] == 1
    assert found["delay of slow faults, h"] == 6
    assert found["worst wear"] == pytest.approx(1 / 6)
    assert found["false / machine-month"] == 0


def test_a_fault_that_nobody_sees_counts_to_its_end(pump: Plant) -> None:
    nothing = figures(pump, {"flow": []})
    assert (nothing["found %"], nothing["worst wear"]) == (0, 1)
    assert nothing["delay of fast faults, h"] == 6


def test_an_alarm_that_began_before_the_fault_is_false_whatever_it_covers(pump: Plant) -> None:
    (fast, _), _ = pump.faults
    found = figures(pump, {"flow": [(fast - HOUR_US, fast + HOUR_US)]})
    assert found["false / machine-month"] == pytest.approx(30 / synthetic.TEST_DAYS)
    assert found["false / sensor-month"] == pytest.approx(30 / synthetic.TEST_DAYS / 5)


def test_alarms_of_several_sensors_at_once_are_no_longer_than_they_last(pump: Plant) -> None:
    normal_us = sum(last - first for first, last in pump.normal)
    span = (TESTED_FROM + HOUR_US, TESTED_FROM + 3 * HOUR_US)
    found = figures(pump, {"flow": [span], "current": [span, (span[1] - HOUR_US, span[1] + HOUR_US)]})
    assert found["normal time in alarm %"] == pytest.approx(100 * 3 * HOUR_US / normal_us)
    assert figures(pump, synthetic.always(pump))["normal time in alarm %"] == 100


def test_both_detectors_find_both_faults_of_a_machine_early(pump: Plant) -> None:
    built_in, asset = figures(pump, synthetic.built_in(pump)), figures(pump, synthetic.asset_detector(pump))
    assert all(gate.holds for gate in synthetic.gates(built_in, asset)), (built_in, asset)


def test_doing_nothing_crying_wolf_and_three_sigma_do_not_pass(pump: Plant) -> None:
    for alarms in ({"flow": []}, synthetic.always(pump), synthetic.three_sigma(pump)):
        trivial = figures(pump, alarms)
        assert not all(gate.holds for gate in synthetic.gates(trivial, trivial)[:3])


def test_the_gauntlet_asks_for_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic, "SEEDS", (1,))
    monkeypatch.setattr(synthetic, "MACHINES", (PUMP,))
    result = gauntlets.run("synthetic", tmp_path / "nowhere")
    assert set(result.metrics) == {"built-in, each sensor alone", "asset detector"}
    assert set(result.baselines) == {"fixed 3 sigma, each sensor alone", "always"}

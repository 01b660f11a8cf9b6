from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from sensors.demo import create_plant, store_past
from sensors.models import Asset, Reading, Sensor
from sensors.simulator import COMPRESSOR, MACHINES, PUMP, PumpWear, measure

DAY = np.arange(0, 86_400, 60.0) + 1_790_000_000


def day_of(machine: object, wear: float = 0.0) -> dict[str, np.ndarray]:
    return measure(machine, DAY, np.random.default_rng(1), wear)  # type: ignore[arg-type]


def test_the_plant_has_three_machines_and_ten_kinds_of_measurement() -> None:
    kinds = {sensor.kind for machine in MACHINES for sensor in machine.sensors.values()}
    assert len(MACHINES) == 3
    assert kinds == {
        "temperature", "vibration", "pressure", "humidity", "voltage", "current", "power", "flow", "speed", "sound"
    }  # fmt: skip


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.key)
def test_every_value_stays_inside_the_physical_range(machine: object) -> None:
    for key, values in day_of(machine, wear=1.0).items():
        sensor = machine.sensors[key]  # type: ignore[attr-defined]
        assert sensor.low <= values.min() <= values.max() <= sensor.high


def test_sensors_of_one_machine_move_together() -> None:
    values = day_of(PUMP)
    assert np.corrcoef(values["flow"], values["current"])[0, 1] > 0.9
    assert np.corrcoef(values["flow"], values["pressure"])[0, 1] < -0.9


def test_there_is_a_daily_cycle() -> None:
    power = day_of(COMPRESSOR)["power"].reshape(24, 60).mean(axis=1)
    assert power.max() - power.min() > 5


def test_a_worn_pump_shakes_runs_hot_and_delivers_less() -> None:
    healthy, worn = day_of(PUMP), day_of(PUMP, wear=1.0)
    assert worn["vibration"].mean() > 7.1 > healthy["vibration"].mean()  # ISO 20816-3: dangerous beyond 7.1 mm/s.
    assert worn["bearing_temperature"].mean() > healthy["bearing_temperature"].mean() + 15
    assert worn["flow"].mean() < healthy["flow"].mean()


def test_wear_begins_grows_and_ends_with_a_repair() -> None:
    wear = PumpWear(begins_at=100, growth_seconds=50)
    assert [wear.at(100), wear.at(125), wear.at(1000)] == [0, 0.5, 1]
    wear.repair(1000)
    assert wear.at(1001) == 0


@pytest.mark.django_db
def test_seeding_twice_adds_nothing() -> None:
    now = datetime(2026, 6, 1, tzinfo=UTC)
    create_plant()
    stored = store_past(now)
    create_plant()
    assert stored == 14 * 24 * 30 * 15
    assert store_past(now + timedelta(seconds=100)) == 0
    assert Reading.objects.count() == stored
    assert (Asset.objects.count(), Sensor.objects.count()) == (4, 15)

import pytest

from sensors import units


@pytest.mark.parametrize("written", ["U/min", "1/min", "min-1", "r/min", "RPM"])
def test_every_way_to_write_turns_per_minute_is_rpm(written: str) -> None:
    assert units.canonical(written) == "rpm"


@pytest.mark.parametrize("written", ["% rF", "%rF", "%RH", "% RH"])
def test_relative_humidity_is_a_percentage(written: str) -> None:
    assert units.canonical(written) == "%"


@pytest.mark.parametrize(("unit", "kilopascals"), [("mbar", 0.1), ("hPa", 0.1), ("Pa", 0.001)])
def test_small_units_of_pressure_are_turned_into_kilopascals(unit: str, kilopascals: float) -> None:
    assert units.conversion(unit, "kPa") == (kilopascals, 0.0)


def test_whoever_sends_an_unknown_unit_is_told_which_ones_could_be_meant() -> None:
    assert units.not_known("inHg", like="bar").endswith("known are kPa, mbar, hPa, Pa, bar, MPa, psi.")
    assert all(f" {unit}" in units.not_known("inHg") for unit in units.CONVERSIONS)

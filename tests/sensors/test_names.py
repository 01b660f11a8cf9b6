"""Names of the outside world become keys of sensors."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensors.formats import as_sensor_id
from sensors.models.plant import valid_sensor_id


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("Öldruck", "Oeldruck"),
        ("ÖLDRUCK", "OELDRUCK"),
        ("Außentemperatur", "Aussentemperatur"),
        ("Température entrée", "Temperature_entree"),
        ("Ciśnienie łożyska", "Cisnienie_lozyska"),
        ("Şaft hızı", "Saft_hizi"),
        ("Давление масла", "Davlenie_masla"),
        ("Θερμοκρασία", "Thermokrasia"),
        ("온도", "ondo"),
        ("オンド", "ondo"),
        ("温度1", "6e295ea61"),
        ("Durchfluß m³", "Durchfluss_m3"),
        ("line1/p101.temp", "line1/p101.temp"),
        ("±", ""),
    ],
)
def test_a_name_in_any_script_becomes_a_key_that_can_be_read(name: str, key: str) -> None:
    assert as_sensor_id(name) == key


def test_it_does_not_matter_how_an_umlaut_is_encoded() -> None:
    assert as_sensor_id(unicodedata.normalize("NFD", "Öl ä ї й")) == as_sensor_id("Öl ä ї й") == "Oel_ae_yi_y"


@given(st.text())
def test_whatever_a_name_is_its_key_is_valid_or_nothing_and_stays_what_it_is(name: str) -> None:
    key = as_sensor_id(name)
    assert as_sensor_id(key) == key
    if key:
        valid_sensor_id(key)

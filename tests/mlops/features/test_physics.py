import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from mlops.features.columns import ColumnsDiffer
from mlops.features.physics import (
    APPARENT_POWER,
    FORMULAS,
    HYDRAULIC_POWER,
    SHAFT_POWER,
    SPECIFIC_LOAD,
    TEMPERATURE_DIFFERENCE,
    TOOL_STRAIN,
    Derived,
    DerivedQuantities,
    Formula,
)


@pytest.mark.parametrize(
    ("formula", "inputs", "expected"),
    [
        (SHAFT_POWER, (10, 60), 62.831853),  # one turn a second
        (TEMPERATURE_DIFFERENCE, (308.6, 298.1), 10.5),
        (TOOL_STRAIN, (108, 46.3), 5000.4),
        (APPARENT_POWER, (230, 1.5), 345.0),
        (HYDRAULIC_POWER, (300, 120), 600.0),  # 300 kPa at 2 l/s
        (SPECIFIC_LOAD, (9.0, 1500), 0.006),
        (SPECIFIC_LOAD, (9.0, 0), np.nan),
    ],
    ids=lambda value: value.name if isinstance(value, Formula) else None,
)
def test_a_quantity_follows_from_its_inputs(formula: Formula, inputs: tuple[float, float], expected: float) -> None:
    frame = pd.DataFrame([inputs], columns=["a", "b"])
    derived = DerivedQuantities([Derived("q", formula, ("a", "b"))]).fit_transform(frame)
    assert derived["q"][0] == pytest.approx(expected, abs=1e-5, nan_ok=True)


@pytest.mark.parametrize("formula", FORMULAS, ids=lambda formula: formula.name)
def test_a_formula_says_what_it_is_and_where_it_comes_from(formula: Formula) -> None:
    assert formula.expression
    assert formula.unit
    assert len(formula.inputs) == 2
    assert formula.source
    assert pickle.loads(pickle.dumps(formula)) == formula


def test_equal_differences_of_decimals_are_equal_numbers() -> None:
    frame = pd.DataFrame({"inside": [308.6, 307.6, 309.9], "outside": [300.0, 299.0, 301.3]})
    assert len(set(frame["inside"] - frame["outside"])) > 1
    derived = Derived("difference", TEMPERATURE_DIFFERENCE, ("inside", "outside"))
    assert set(DerivedQuantities([derived]).fit_transform(frame)["difference"]) == {8.6}


def test_an_unknown_input_gives_an_unknown_quantity() -> None:
    frame = pd.DataFrame({"torque": [1.0, np.nan], "speed": [60.0, 60.0]})
    power = DerivedQuantities([Derived("power", SHAFT_POWER, ("torque", "speed"))]).fit_transform(frame)["power"]
    assert power.isna().tolist() == [False, True]


def test_output_is_named_and_a_clone_does_the_same() -> None:
    frame = pd.DataFrame({"torque": [1.0], "speed": [60.0]})
    transformer = DerivedQuantities([Derived("power", SHAFT_POWER, ("torque", "speed"))])
    derived = clone(transformer).fit(frame)
    assert (
        list(derived.get_feature_names_out()) == list(derived.transform(frame).columns) == ["torque", "speed", "power"]
    )


def test_a_missing_input_is_named() -> None:
    transformer = DerivedQuantities([Derived("power", SHAFT_POWER, ("torque", "speed"))])
    with pytest.raises(ColumnsDiffer, match="missing: speed"):
        transformer.fit(pd.DataFrame({"torque": [1.0]}))


def test_a_formula_is_not_bound_to_too_few_columns() -> None:
    with pytest.raises(ValueError, match="torque in Nm, speed in rpm"):
        Derived("power", SHAFT_POWER, ("torque",))


def test_a_replaced_input_is_needed_and_not_given_on() -> None:
    frame = pd.DataFrame({"torque": [40.0], "speed": [1500.0]})
    quantities = DerivedQuantities([Derived("power", SHAFT_POWER, ("torque", "speed"))], replaced=("torque",)).fit(
        frame
    )
    given = quantities.transform(frame)
    assert list(given.columns) == quantities.get_feature_names_out().tolist() == ["speed", "power"]
    with pytest.raises(ColumnsDiffer, match="missing: torque"):
        quantities.transform(frame.drop(columns="torque"))

"""Quantities of mechanics and heat that follow from measured ones.

A tree splits one column at a time and approximates a product by a staircase; given the product itself it needs one
split. Formulas are declared as data, so that a model's page can show what each feature is and where it comes from.
They hold no limits: what is too much, the model learns.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from mlops.features.columns import require

Column = NDArray[np.float64]
# Readings are decimals, and 308.6 - 300.0 differs from 307.6 - 299.0 in the last bit: without rounding, a tree would
# split between equal differences.
DECIMALS = 6
RADIANS_PER_SECOND_PER_RPM = 2 * np.pi / 60


@dataclass(frozen=True)
class Formula:
    """A derived quantity. `inputs` says, in order, what `compute` takes and in which unit."""

    name: str
    expression: str
    unit: str
    inputs: tuple[str, ...]
    source: str
    compute: Callable[..., Column]


@dataclass(frozen=True)
class Derived:
    """A formula bound to the columns of a frame."""

    name: str
    formula: Formula
    columns: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.columns) != len(self.formula.inputs):
            raise ValueError(f"{self.formula.name} takes {', '.join(self.formula.inputs)}, not {self.columns}.")


def _shaft_power(torque: Column, speed: Column) -> Column:
    return torque * speed * RADIANS_PER_SECOND_PER_RPM


def _difference(warmer: Column, colder: Column) -> Column:
    return warmer - colder


def _product(first: Column, second: Column) -> Column:
    return first * second


def _hydraulic_power(pressure_difference: Column, flow: Column) -> Column:
    return pressure_difference * flow / 60


def _ratio(dividend: Column, divisor: Column) -> Column:
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient = dividend / divisor
    return np.where(np.isfinite(quotient), quotient, np.nan)


_MECHANICS = "ISO 80000-4:2019, Mechanics"
_HEAT = "ISO 80000-5:2019, Thermodynamics"
_ELECTRICITY = "IEC 80000-6:2022, Electromagnetism"

SHAFT_POWER = Formula(
    "shaft power", "torque × speed × 2π / 60", "W", ("torque in Nm", "speed in rpm"), _MECHANICS, _shaft_power
)
TEMPERATURE_DIFFERENCE = Formula(
    "temperature difference",
    "warmer - colder",
    "K",
    ("temperature in K or °C", "temperature in the same unit"),
    f"{_HEAT}; by Newton's law of cooling, heat is carried off in proportion to it",
    _difference,
)
TOOL_STRAIN = Formula(
    "tool strain",
    "wear × torque",
    "min Nm",
    ("time in use in min", "torque in Nm"),
    "Archard, 1953, J. Appl. Phys. 24, 981: wear grows with load and way, and a worn edge has less metal for the load",
    _product,
)
APPARENT_POWER = Formula(
    "apparent power", "voltage × current", "VA", ("voltage in V", "current in A"), _ELECTRICITY, _product
)
HYDRAULIC_POWER = Formula(
    "hydraulic power",
    "pressure difference × flow / 60",
    "W",
    ("pressure difference in kPa", "flow in l/min"),
    "ISO 17769-1:2012, Liquid pumps: power given to the liquid",
    _hydraulic_power,
)
SPECIFIC_LOAD = Formula(
    "specific load",
    "load / speed",
    "1/rpm of the load",
    ("load, in any unit", "speed in rpm"),
    f"{_MECHANICS}; load per revolution",
    _ratio,
)
FORMULAS = (SHAFT_POWER, TEMPERATURE_DIFFERENCE, TOOL_STRAIN, APPARENT_POWER, HYDRAULIC_POWER, SPECIFIC_LOAD)


class DerivedQuantities(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Adds derived quantities to the columns of a frame; NaN where an input is unknown.

    `derived`: what to add. `replaced`: inputs that are not given on, as the quantities made of them say all that
    matters. Raises mlops.features.columns.ColumnsDiffer when an input is not among the columns.
    """

    def __init__(self, derived: Sequence[Derived] = (), replaced: Sequence[str] = ()) -> None:
        self.derived = derived
        self.replaced = replaced

    def fit(self, X: pd.DataFrame, y: object = None) -> Self:  # noqa: N803 (sklearn's name)
        self._require(X)
        self.feature_names_in_ = np.asarray(X.columns, dtype=object)
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:  # noqa: N803
        check_is_fitted(self)
        self._require(X)
        added = {each.name: np.round(self._computed(each, X), DECIMALS) for each in self.derived}
        return X.assign(**added).drop(columns=list(self.replaced))

    def get_feature_names_out(self, input_features: object = None) -> NDArray[np.object_]:
        check_is_fitted(self)
        kept = [name for name in self.feature_names_in_ if name not in self.replaced]
        return np.array([*kept, *(each.name for each in self.derived)], dtype=object)

    @staticmethod
    def _computed(derived: Derived, frame: pd.DataFrame) -> Column:
        return derived.formula.compute(*(frame[name].to_numpy(np.float64) for name in derived.columns))

    def _require(self, frame: pd.DataFrame) -> None:
        require(frame, [*(name for each in self.derived for name in each.columns), *self.replaced])

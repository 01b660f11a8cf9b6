"""Words as numbers that trees can split: in their order where they have one."""

from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_numeric_dtype
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from mlops.features.columns import require


class Categories(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Numbers each word of a text column by its place in `orders[column]`, or else in the alphabet.

    Words that were not there in training, and blanks, become NaN: nothing is known of them. Columns of numbers stay as
    they are.
    """

    def __init__(self, orders: Mapping[str, Sequence[str]] | None = None) -> None:
        self.orders = orders

    def fit(self, X: pd.DataFrame, y: object = None) -> Self:  # noqa: N803 (sklearn's name)
        orders = self.orders or {}
        require(X, orders)
        self.feature_names_in_ = np.asarray(X.columns, dtype=object)
        self.words_ = {
            name: list(orders[name]) if name in orders else sorted(map(str, X[name].dropna().unique()))
            for name in X.columns
            if name in orders or not is_numeric_dtype(X[name])
        }
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:  # noqa: N803
        check_is_fitted(self)
        require(X, self.feature_names_in_)
        return pd.DataFrame({name: self._numbers(X[name]) for name in self.feature_names_in_}, index=X.index)

    def get_feature_names_out(self, input_features: object = None) -> NDArray[np.object_]:
        check_is_fitted(self)
        return self.feature_names_in_.copy()

    def _numbers(self, column: pd.Series) -> NDArray[np.float64]:
        if column.name not in self.words_:
            return np.asarray(column.to_numpy(np.float64, na_value=np.nan))
        places = {word: float(place) for place, word in enumerate(self.words_[column.name])}
        return np.array([places.get(str(word), np.nan) for word in column])

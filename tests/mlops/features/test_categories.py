import numpy as np
import pandas as pd
import pytest

from mlops.features.categories import Categories
from mlops.features.columns import ColumnsDiffer

FRAME = pd.DataFrame({"grade": ["M", "L", "H"], "line": ["south", "north", "south"], "speed": [1.0, 2.0, 3.0]})


def test_words_are_numbered_in_their_order_or_by_the_alphabet() -> None:
    given = Categories({"grade": ("L", "M", "H")}).fit_transform(FRAME)
    assert given.to_numpy().tolist() == [[1, 1, 1], [0, 0, 2], [2, 1, 3]]


def test_blanks_and_words_that_were_not_there_in_training_are_unknown() -> None:
    asked = pd.DataFrame({"grade": ["XL", None], "line": ["east", np.nan], "speed": [np.nan, None]})
    assert Categories({"grade": ("L", "M", "H")}).fit(FRAME).transform(asked).isna().all().all()


def test_yes_and_no_are_one_and_zero() -> None:
    frame = pd.DataFrame({"guarded": [True, False]})
    assert Categories().fit_transform(frame)["guarded"].tolist() == [1.0, 0.0]


def test_columns_are_named_as_they_were_given() -> None:
    assert Categories().fit(FRAME).get_feature_names_out().tolist() == ["grade", "line", "speed"]


def test_an_order_of_a_column_that_is_not_there_is_refused() -> None:
    with pytest.raises(ColumnsDiffer, match="missing: quality"):
        Categories({"quality": ("poor", "good")}).fit(FRAME)

"""A published data set, read in place: skipped where the folder is not there. The whole protocol takes minutes and is
run by `manage.py gauntlet ai4i`; here one training of it.
"""

import numpy as np
import pandas as pd
import pytest
from django.conf import settings

from mlops.classifiers import FailureClassifier
from mlops.gauntlets import ai4i
from mlops.leaks import find_leaks

FILE = settings.DATA_DIR / "ai4i2020" / "ai4i2020.csv.gz"

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not FILE.exists(), reason="the data folder is not there; set DATA_DIR"),
]


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return pd.read_csv(FILE, encoding="utf-8-sig")


def test_what_was_measured_is_honest_and_everything_else_is_refused(table: pd.DataFrame) -> None:
    labels = table[ai4i.LABEL].to_numpy(np.int64)
    assert not find_leaks(table[ai4i.HONEST], labels)
    refused = {leak.column for leak in find_leaks(table.drop(columns=ai4i.LABEL), labels)}
    # Random failures (RNF) are a flag that the label of this table leaves out.
    assert refused == {"UDI", "Product ID", "TWF", "HDF", "PWF", "OSF"}


def test_failures_of_the_last_third_are_known_from_those_before(table: pd.DataFrame) -> None:
    labels = table[ai4i.LABEL].to_numpy(np.int64)
    model = FailureClassifier("random_forest", ai4i.DERIVED, ai4i.GRADES, trees=50, replaced=ai4i.REPLACED)
    figures, (fitted,) = ai4i.judge(model, table[ai4i.HONEST], labels, ai4i.protocols(labels)[-1])
    assert figures["F1"] >= 0.84
    assert fitted.columns_ == ai4i.HONEST


def test_every_row_is_judged_once_a_round_by_a_model_that_did_not_see_it() -> None:
    labels = (np.arange(5000) % 40 == 0).astype(np.int64)
    *rounds, chronological = ai4i.protocols(labels)
    for splits in rounds:
        np.testing.assert_array_equal(np.sort(np.concatenate([test for _, test in splits])), np.arange(5000))
        assert all(not set(train) & set(test) for train, test in splits)
    ((train, test),) = chronological
    assert train.max() < test.min()


def test_few_failures_make_a_wide_interval() -> None:
    labels = np.tile([1, 0, 0, 0], 25)
    low, high = ai4i.f1_interval(labels, labels * (np.arange(100) < 50))
    # Half of the failures found, none said falsely: F1 is 2/3.
    assert low < 0.55 < 2 / 3 < 0.78 < high
    assert ai4i.f1_interval(labels, labels) == (1.0, 1.0)

"""The protocol on a made table of the layout, and one training on the published one, read in place. The whole takes
minutes and is run by `manage.py gauntlet ai4i`.
"""

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from django.conf import settings

from mlops.classifiers import FailureClassifier
from mlops.gauntlets import ai4i
from mlops.leaks import find_leaks

FILE = settings.DATA_DIR / "ai4i2020" / "ai4i2020.csv.gz"

needs_data = pytest.mark.skipif(not FILE.exists(), reason="the data folder is not there; set DATA_DIR")


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return pd.read_csv(FILE, encoding="utf-8-sig")


@pytest.mark.data
@needs_data
def test_what_was_measured_is_honest_and_everything_else_is_refused(table: pd.DataFrame) -> None:
    labels = table[ai4i.LABEL].to_numpy(np.int64)
    assert not find_leaks(table[ai4i.HONEST], labels)
    refused = {leak.column for leak in find_leaks(table.drop(columns=ai4i.LABEL), labels)}
    # Random failures (RNF) are a flag that the label of this table leaves out.
    assert refused == {"UDI", "Product ID", "TWF", "HDF", "PWF", "OSF"}


@pytest.mark.data
@needs_data
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


def other_products(rows: int) -> pd.DataFrame:
    """Another machine, in the layout of the set: it fails of strain and of too little power."""
    rng = np.random.default_rng(4)
    ambient = rng.normal(300, 2, rows).round(1)
    torque, wear = rng.normal(40, 10, rows).round(1), rng.integers(0, 250, rows)
    strained, weak = torque * wear > 9_500, torque < 24
    columns = {
        "UDI": np.arange(1, rows + 1),
        "Product ID": [f"L{number}" for number in range(rows)],
        ai4i.GRADE: rng.choice(["L", "M", "H"], rows),
        ai4i.AMBIENT: ambient,
        ai4i.PROCESS: (ambient + rng.normal(10, 1, rows)).round(1),
        ai4i.SPEED: rng.normal(1_500, 150, rows).round(),
        ai4i.TORQUE: torque,
        ai4i.WEAR: wear,
        ai4i.LABEL: (strained | weak).astype(int),
    }
    flags = {"TWF": 0, "HDF": 0, "PWF": weak.astype(int), "OSF": strained.astype(int), "RNF": 0}
    return pd.DataFrame(columns | flags)


def test_it_runs_on_another_table_of_the_same_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Few trees and rounds: the protocol and not its figures are looked at.
    monkeypatch.setattr(ai4i, "FailureClassifier", partial(FailureClassifier, trees=4))
    monkeypatch.setattr(ai4i, "SEEDS", (0, 1))
    folder = tmp_path / "ai4i2020"
    folder.mkdir()
    other_products(2_200).to_csv(folder / "other.csv", index=False)
    result = ai4i.run(tmp_path)
    assert list(result.data) == ["other.csv"]
    assert len(result.gates) == 7
    assert result.metrics["forest or boosting, 3 x 5-fold"]["F1"] > 0.8
    assert "OSF" in result.notes[-1]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="ai4i2020"):
        ai4i.run(tmp_path)

"""A published data set, read in place: skipped where the folder is not there."""

import pytest
from django.conf import settings

from mlops import gauntlets

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not settings.DATA_DIR.exists(), reason="the data folder is not there; set DATA_DIR"),
]


def test_the_pump_table_is_refused_for_what_it_is() -> None:
    result = gauntlets.run("pump_table", settings.DATA_DIR)
    assert [gate.holds for gate in result.gates] == [True, True]
    # What an honest model finds in counters of 5 and 10 about a label that counts to 3.
    assert 0.4 < result.baselines["boosting, the six sensors, five blocks"]["ROC AUC"] < 0.6

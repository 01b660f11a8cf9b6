"""What callers are told when no pool answers them."""

import pytest
from django.conf import LazySettings

from mlops.prediction import asking
from mlops.prediction.questions import Question
from sensors import valkey
from sensors.errors import Refused


@pytest.fixture(autouse=True)
def nothing_waits() -> None:
    valkey.client().delete(asking.ALIVE, asking.QUESTIONS, asking.failures_key(1))


def refusal() -> str:
    with pytest.raises(Refused) as caught:
        asking.ask(Question("version", version=1, rows=[{"torque": 1.0}]))
    return caught.value.code


def test_nobody_waits_for_ever(settings: LazySettings) -> None:
    """A pool that is stuck altogether: it was just heard of, and takes no question."""
    valkey.client().set(asking.ALIVE, "1", ex=30)
    settings.PREDICT_TIMEOUT_SECONDS = 1
    assert refusal() == "predict_timeout"


def test_a_long_queue_takes_no_more() -> None:
    valkey.client().set(asking.ALIVE, "1", ex=30)
    valkey.client().rpush(asking.QUESTIONS, *[b""] * asking.MOST_WAITING)
    assert refusal() == "predict_busy"


def test_a_version_that_has_ended_processes_is_not_asked() -> None:
    valkey.client().set(asking.ALIVE, "1", ex=30)
    valkey.client().set(asking.failures_key(1), asking.MOST_FAILURES, ex=30)
    assert refusal() == "model_failing"


def test_without_a_pool_callers_hear_so_at_once() -> None:
    assert refusal() == "predict_unavailable"


def test_without_valkey_models_cannot_be_asked(settings: LazySettings) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    valkey.client.cache_clear()
    try:
        assert refusal() == "predict_unavailable"
    finally:
        valkey.client.cache_clear()

from hypothesis import given
from hypothesis import strategies as st

from sensors.limits import REMEMBERED, RateLimit


@given(st.lists(st.floats(0, 0.2), max_size=200), st.integers(1, 50))
def test_no_caller_ever_gets_more_than_its_rate_and_one_burst(pauses: list[float], per_second: int) -> None:
    limit, now, allowed = RateLimit(), 0.0, 0
    for pause in pauses:
        now += pause
        allowed += limit.wait("gateway", per_second, now) == 0
    assert allowed <= per_second * (now + 1) + 1e-6


@given(st.integers(1, 50))
def test_whoever_waits_as_told_is_let_through(per_second: int) -> None:
    limit, now = RateLimit(), 0.0
    while not (wait := limit.wait("gateway", per_second, now)):
        pass
    assert limit.wait("gateway", per_second, now + wait + 1e-9) == 0


def test_callers_do_not_share_a_bucket_and_are_forgotten_at_last() -> None:
    limit = RateLimit()
    assert [limit.wait("a", 1, 0.0), limit.wait("a", 1, 0.0), limit.wait("b", 1, 0.0)] == [0.0, 1.0, 0.0]
    for number in range(REMEMBERED + 10):
        limit.wait(number, 1, 0.0)
    assert len(limit._buckets) == REMEMBERED


def test_without_a_rate_nobody_waits() -> None:
    assert not any(RateLimit().wait("a", 0, 0.0) for _ in range(10))

from datetime import UTC
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alerts import evidence

BERLIN = ZoneInfo("Europe/Berlin")
WHOLE = {
    "sensor_id": "north.p101.temperature",
    "unit": "°C",
    "peak_value": 84.2,
    "peak_score": -17.31,
    "expected": 62.0,
    "spread": 1.5,
    "threshold": 6.0,
    "start": "2014-07-01T12:00:00+00:00",
    "end": "2014-07-01T12:20:00+00:00",
    "peak_at": "2014-07-01T12:10:00+00:00",
    "hits": 4,
    "window": 5,
    "baseline_readings": 12000,
    "baseline_days": 14.2,
    "decision": "credible_anomaly",
    "confidence": 0.874,
    "layers": [{"name": "no_maintenance", "passed": False, "detail": "Somebody was there."}],
}
KEYS = st.sampled_from([*WHOLE, "shares", "severity"])


def test_whole_evidence_is_told_on_the_wall_clock_of_the_site() -> None:
    assert evidence.sentences(WHOLE, BERLIN) == [
        "The value reached 84.20 °C on 1 Jul 2014, 14:10; about 62.00 °C was expected.",
        "That is 17.3 times the usual spread away; the limit is 6 times.",
        "Seen from 1 Jul 2014, 14:00 to 1 Jul 2014, 14:20; 4 of 5 consecutive readings were beyond it.",
        "Normal was learned from 12,000 readings over 14 days.",
    ]
    assert evidence.verdict(WHOLE) == "Credible anomaly, confidence 87 %"
    assert evidence.checks(WHOLE) == [evidence.Check("no maintenance", False, "Somebody was there.")]
    assert evidence.expected_band(WHOLE) == (53.0, 71.0)


def test_an_event_of_a_whole_asset_says_what_each_sensor_has_to_do_with_it() -> None:
    told = evidence.sentences(WHOLE | {"shares": [["temperature", 0.7], ["vibration", 0.3], ["flow", 0.0]]}, BERLIN)
    assert told[0] == (
        "Its sensors together are not as they usually are: temperature makes up 70 %, vibration makes up 30 %."
    )


def test_evidence_says_why_it_is_as_severe_as_it_is() -> None:
    told = evidence.sentences({"severity": ["medium, as it is believed", "up, as the asset is critical"]}, BERLIN)
    assert told == ["Severity: medium, as it is believed; up, as the asset is critical."]


def test_no_evidence_says_nothing() -> None:
    assert evidence.sentences({}, BERLIN) == []
    assert evidence.verdict({}) == ""
    assert evidence.checks({}) == []
    assert evidence.period({}) is None
    assert evidence.expected_band({}) is None


def test_a_short_baseline_is_told_in_hours_or_minutes() -> None:
    told = [evidence.sentences({"baseline_readings": 40, "baseline_days": days}, BERLIN)[0] for days in (0.5, 0.02)]
    assert [sentence.rpartition("over ")[2] for sentence in told] == ["12 hours.", "29 minutes."]


# The first draw builds the tables of text, which is slow once.
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    st.dictionaries(KEYS, st.none() | st.booleans() | st.text() | st.integers() | st.floats() | st.lists(st.text())),
    st.sets(KEYS),
)
def test_no_evidence_whatever_is_in_it_fails_the_page(odd: dict[str, object], missing: set[str]) -> None:
    found = {key: value for key, value in WHOLE.items() if key not in missing} | odd
    evidence.sentences(found, BERLIN)
    evidence.verdict(found)
    evidence.checks(found)
    evidence.period(found)
    evidence.expected_band(found)


def test_an_exceeded_limit_is_told_in_words() -> None:
    said = evidence.sentences(
        {
            "limit": "warning",
            "side": "above",
            "limit_value": 4.5,
            "unit": "mm/s",
            "peak_value": 5.1,
            "peak_at": "2026-03-01T12:05:00+00:00",
            "start": "2026-03-01T12:00:00+00:00",
            "end": "2026-03-01T12:10:00+00:00",
            "zone": "zone C of Group 2, flexible support, after ISO 20816-3:2022",
            "rule": {"id": 1, "name": "Shaking", "conditions": ["Vibration: warn above 4.50 mm/s"]},
            "severity": ["medium, as the rule says"],
        },
        UTC,
    )
    assert " ".join(said) == (
        "The value reached 5.10 mm/s on 1 Mar, 12:05. That is above the limit to warn at, 4.50 mm/s. "
        "It lies in zone C of Group 2, flexible support, after ISO 20816-3:2022. The standard itself is the authority. "
        "Beyond its limits from 1 Mar, 12:00 to 1 Mar, 12:10. "
        "The rule Shaking asks for Vibration: warn above 4.50 mm/s. Severity: medium, as the rule says."
    )


def test_the_limits_of_its_sensor_are_drawn() -> None:
    limits = {"alarm_low": None, "warn_low": None, "warn_high": 80, "alarm_high": 90.0}
    assert evidence.limit_lines({"limits": limits}) == [("warn", 80.0), ("alarm", 90.0)]
    assert evidence.limit_lines({}) == evidence.limit_lines({"limits": "many"}) == []

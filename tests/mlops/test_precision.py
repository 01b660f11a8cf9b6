from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from maintenance.models import Verdict
from mlops import precision
from mlops.models import ModelVersion
from mlops.precision import Precision, wilson
from sensors.models import AssetClass
from tests.alerts.test_views import alert_on, text
from tests.conftest import Plant
from tests.mlops.test_views import anomaly_on

NOW = timezone.now


@pytest.mark.parametrize(
    ("right", "judged", "low", "high"),
    # By R: prop.test(right, judged, correct = FALSE)$conf.int
    [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (20, 20, 0.8389, 1.0), (19, 20, 0.7639, 0.9911)],
)
def test_the_interval_is_wilsons(right: int, judged: int, low: float, high: float) -> None:
    assert wilson(right, judged) == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize(
    ("right", "judged", "proven"), [(19, 19, False), (20, 20, True), (19, 20, False), (90, 100, True)]
)
def test_a_detector_is_proven_by_enough_alerts_that_were_right_often_enough(
    right: int, judged: int, proven: bool
) -> None:
    assert Precision("robust", 1, "Pump", right, judged).is_proven == proven


@pytest.fixture
def pumps(north: Plant) -> AssetClass:
    pumps = AssetClass.objects.create(name="Slurry pump")
    north.pump.asset_class = pumps
    north.pump.save()
    return pumps


def judged(plant: Plant, number: int, *outcomes: str, kind: str = "anomaly", model: str = "") -> None:
    """An alert with these verdicts, one after the other."""
    alert = alert_on(plant, f"Alert {kind} {model} {number}", kind=kind)
    if kind == "anomaly":
        anomaly_on(plant, alert=alert, evidence={"model": model} if model else {})
    for place, outcome in enumerate(outcomes):
        at = NOW() - timedelta(hours=9 - place)
        found = {"asset": plant.pump, "alert": alert, "outcome": outcome, "given_at": at}
        Verdict.objects.create(**found, window_start=at, window_end=at)


def found() -> list[tuple[str, str, int, int]]:
    rows = precision.by_detector(Verdict.objects.all(), NOW())
    return [(row.detector, row.class_name, row.right, row.judged) for row in rows]


def test_each_detector_is_counted_on_each_class(north: Plant, pumps: AssetClass) -> None:
    card = {"parameters": {"detector": "sub_pca"}}
    for version in (1, 2):
        about = {"purpose": "sensor_anomaly", "sha256": "x", "size_bytes": 1, "card": card}
        ModelVersion.objects.create(name="pump model", version=version, **about)
    judged(north, 1, "fault_found")
    judged(north, 2, "nothing_found")
    judged(north, 3, "fault_found", model="pump model v1")
    judged(north, 4, "sensor_problem", model="pump model v2")
    judged(north, 5, "fault_found", kind="limit")
    assert found() == [
        ("limit", "Slurry pump", 1, 1),
        ("robust", "Slurry pump", 1, 2),
        ("sub_pca", "Slurry pump", 1, 2),
    ]


def test_an_alert_counts_once_by_its_newest_verdict_and_planned_work_says_nothing(north: Plant) -> None:
    judged(north, 1, "fault_found", "nothing_found")
    judged(north, 2, "planned_work")
    judged(north, 3, "fault_found", "planned_work")
    assert found() == [("robust", "", 1, 2)]


def test_verdicts_of_imported_history_and_of_long_ago_do_not_count(north: Plant) -> None:
    judged(north, 1, "fault_found")
    Verdict.objects.update(given_at=NOW() - timedelta(days=400))
    assert found() == []


def test_a_version_is_judged_by_what_it_found(north: Plant) -> None:
    about = {"purpose": "sensor_anomaly", "sha256": "x", "size_bytes": 1}
    version = ModelVersion.objects.create(name="pump model", version=1, **about)
    judged(north, 1, "fault_found", model="pump model v1")
    judged(north, 2, "nothing_found")
    (row,) = precision.of_version(version, Verdict.objects.all(), NOW())
    assert (row.detector, row.right, row.judged) == ("pump model", 1, 1)


def test_a_detector_is_proven_on_the_class_it_was_right_on(north: Plant, pumps: AssetClass) -> None:
    for number in range(20):
        judged(north, number, "fault_found")
    assert precision.is_proven("robust", pumps.pk)
    assert not precision.is_proven("robust", AssetClass.objects.create(name="Other").pk)
    assert not precision.is_proven("sub_pca", pumps.pk)


def test_engineers_see_it_beside_the_models_and_programs_by_the_api(
    client: Client, people: dict[str, User], north: Plant, south: Plant, pumps: AssetClass
) -> None:
    judged(north, 1, "fault_found")
    judged(south, 2, "nothing_found")
    client.force_login(people["engineer"])
    page = text(client, reverse("mlops:models"))
    assert "The built-in detector" in page
    assert "1 of 1" in page
    (row,) = client.get("/api/v1/detectors/precision/").json()
    assert (row["detector"], row["class_name"], row["precision"], row["proven"]) == (
        "robust",
        "Slurry pump",
        1.0,
        False,
    )
    assert row["low"] == pytest.approx(0.2065, abs=1e-4)

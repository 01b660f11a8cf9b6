import pytest

from maintenance.models import WorkOrder
from mlops import approval
from mlops.models import Anomaly
from sensors.models import AssetClass
from tests.alerts.test_views import alert_on
from tests.conftest import Plant
from tests.mlops.test_precision import judged
from tests.mlops.test_views import anomaly_on


def found(plant: Plant, decision: str = Anomaly.Decision.CREDIBLE) -> WorkOrder | None:
    alert = alert_on(plant, "Shakes")
    return approval.ask_for_work(anomaly_on(plant, alert=alert, decision=decision))


def prepare(plant: Plant, *, allowed: bool, right: int) -> None:
    plant.pump.asset_class = AssetClass.objects.create(name="Slurry pump", auto_approve=allowed)
    plant.pump.save()
    for number in range(right):
        judged(plant, number, "fault_found")


def test_a_proven_detector_has_its_work_approved_where_an_engineer_allows_it(north: Plant) -> None:
    prepare(north, allowed=True, right=20)
    order = found(north)
    assert order is not None
    assert (order.state, order.created_by, order.kind) == ("approved", None, "condition_based")
    assert found(north) == order


@pytest.mark.parametrize(
    ("allowed", "right", "decision"),
    [
        (False, 20, Anomaly.Decision.CREDIBLE),
        (True, 19, Anomaly.Decision.CREDIBLE),
        (True, 20, Anomaly.Decision.FURTHER),
    ],
    ids=["not allowed", "not proven", "not believed"],
)
def test_otherwise_people_approve(north: Plant, allowed: bool, right: int, decision: str) -> None:
    prepare(north, allowed=allowed, right=right)
    assert found(north, decision) is None
    assert not WorkOrder.objects.exists()

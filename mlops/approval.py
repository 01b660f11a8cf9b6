"""Work that needs no approval: what a detector finds that has been proven on the class of the asset."""

from maintenance import work_orders
from maintenance.models import WorkOrder
from mlops import precision
from mlops.models import Anomaly


def ask_for_work(anomaly: Anomaly) -> WorkOrder | None:
    """An approved order for the alert that an anomaly has just raised, where an engineer has allowed that for the class
    of the asset and its detector is proven on it; otherwise people propose and approve.
    """
    alert = anomaly.alert
    asset_class = alert.asset.asset_class if alert and alert.asset else None
    if alert is None or alert.asset is None or asset_class is None or not asset_class.auto_approve:
        return None
    detector = precision.detector_of(anomaly)
    if anomaly.decision != Anomaly.Decision.CREDIBLE or not precision.is_proven(detector, asset_class.pk):
        return None
    return work_orders.propose(
        alert.asset,
        None,
        title=alert.title,
        description=f"Approved by itself: {detector} is proven on assets of class {asset_class}.",
        kind=WorkOrder.Kind.CONDITION_BASED,
        priority=alert.severity,  # Both scales have four steps.
        alert=alert,
        approved=True,
    )

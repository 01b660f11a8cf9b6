"""One of everything that belongs to a site."""

from datetime import UTC, datetime, timedelta

from django.core.files.base import ContentFile
from django.utils import timezone

from alerts.models import (
    Alert,
    Channel,
    Condition,
    Delivery,
    EscalationPolicy,
    Firing,
    Route,
    Rule,
    Schedule,
    Severity,
    Silence,
)
from maintenance.models import (
    Attachment,
    ChecklistItem,
    MaintenanceLog,
    Part,
    PartUse,
    Plan,
    PlanOccurrence,
    Report,
    ReportSchedule,
    Verdict,
    WorkOrder,
)
from mlops.models import (
    Anomaly,
    Baseline,
    Deployment,
    ModelVersion,
    RepairCheck,
    TrainingRun,
    UnscoredStretch,
    ValidationPolicy,
)
from sensors.models import (
    Annotation,
    AssetDocument,
    AuditEntry,
    Correction,
    Import,
    Pending,
    QualityPolicy,
    Quarantined,
    Reading,
    ReadingBatch,
    Sensor,
    SensorFault,
    SensorProfile,
)
from tests.architecture.permissions import Things
from tests.conftest import make_plant, make_user

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)

LAYOUT = {"columns": [{"name": "time", "role": "timestamp"}, {"name": "a", "role": "value", "sensor_id": "a"}]}


def make_things(name: str) -> Things:
    """By kind; everything that has a name bears the site's."""
    plant = make_plant(name)
    asset, sensor = plant.pump, plant.temperature
    asset.name = f"{name} pump"
    asset.save()
    user = make_user("technician")
    user.username = f"{name}-technician"
    user.save()
    alert = Alert.objects.create(
        site=plant.site, asset=asset, sensor=sensor, severity=Severity.HIGH, dedup_key=name, title=f"{name} is hot"
    )
    order = WorkOrder.objects.create(
        site=plant.site, asset=asset, title=f"Cool {name}", state="approved", created_by=user
    )
    item = ChecklistItem.objects.create(
        order=order, position=1, text=f"Heat of {name}", kind="number", high=2, value=3, failed=True
    )
    attachment = Attachment(order=order, name=f"{name}.txt", size=4, by=user)
    attachment.file.save("note.txt", ContentFile(b"Note"))
    log = MaintenanceLog.objects.create(asset=asset, work_order=order, done_by=user, notes=f"Looked at {name}.")
    window = {"window_start": NOON, "window_end": NOON}
    verdict = Verdict.objects.create(asset=alert.asset, alert=alert, outcome="nothing_found", given_by=user, **window)
    plan = Plan.objects.create(asset=asset, title=f"Grease {name}", rule="FREQ=DAILY", starts_on=NOON.date())
    PlanOccurrence.objects.create(plan=plan, key="2026-03-01", due_at=NOON, order=order)
    part = Part.objects.create(site=plant.site, number="6205", name=f"Bearing of {name}", quantity=5)
    use = PartUse.objects.create(order=order, part=part, quantity=1, by=user)
    batch = ReadingBatch.objects.create(
        source=name, accepted=1, sensors=[sensor.pk], firsts=[NOON], lasts=[NOON], received_at=NOON
    )
    anomaly = Anomaly.objects.create(
        sensor=sensor,
        start=NOON,
        end=NOON,
        peak_at=NOON,
        peak_value=99,
        peak_score=9,
        decision="credible_anomaly",
        confidence=1,
        evidence={"site": name},
    )
    Reading.objects.create(sensor=sensor, timestamp=NOON, value=20)
    refused = Quarantined.objects.create(
        site=plant.site,
        source=name,
        code="unknown_sensor",
        detail=f"{name} was not known.",
        payload={"sensor_id": sensor.sensor_id, "timestamp": NOON.isoformat(), "value": 20},
        digest=name.encode(),
    )
    noted = Annotation.objects.create(
        asset=asset, start=NOON, end=NOON + timedelta(hours=1), text=f"{name} stood still.", created_by=user
    )
    version = ModelVersion.objects.create(
        name=f"{name} model",
        version=1,
        purpose="sensor_anomaly",
        site=plant.site,
        sha256=name,
        size_bytes=1,
        features=["temperature"],
    )
    deployed = Deployment.objects.create(
        version=version, purpose=version.purpose, site=plant.site, sensor=sensor, since=NOON, by=user, why=name
    )
    channel = Channel.objects.create(site=plant.site, name=f"{name} log", kind=Channel.Kind.CONSOLE)
    delivery = Delivery.objects.create(site=plant.site, channel=channel, group_key=name, reason=f"{name} is hot")
    delivery.items.create(alert=alert, reason=delivery.reason)
    silence = Silence.objects.create(
        site=plant.site, asset=asset, reason=f"{name} is tried out", ends_at=timezone.now() + timedelta(days=1)
    )
    schedule = Schedule.objects.create(site=plant.site, name=f"{name} duty")
    policy = EscalationPolicy.objects.create(site=plant.site, name=f"{name} escalation")
    policy.steps.create(position=0, schedule=schedule)
    rule = Rule.objects.create(asset=asset, name=f"{name} rule")
    Condition.objects.create(rule=rule, sensor=sensor, warn_high=80)
    route = Route.objects.create(site=plant.site, asset=asset, name=f"{name} route")
    report = Report(site=plant.site, start=NOON, end=NOON + timedelta(days=1))
    report.file.save("report.pdf", ContentFile(b"%PDF-1.4"))
    return {
        "report": report,
        "reportschedule": ReportSchedule.objects.create(site=plant.site, every="week"),
        "channel": channel,
        "delivery": delivery,
        "route": route,
        "schedule": schedule,
        "escalationpolicy": policy,
        "rule": rule,
        "firing": Firing.objects.create(
            rule=rule, sensor=sensor, definition=name, start=NOON, end=NOON, peak_at=NOON, peak_value=99, alert=alert
        ),
        "silence": silence,
        "modelversion": version,
        "deployment": deployed,
        "quarantined": refused,
        "annotation": noted,
        "correction": Correction.objects.create(
            sensor=sensor, timestamp=NOON, old_value=1, old_quality=1, new_value=20, by=user
        ),
        "auditentry": AuditEntry.objects.create(site=plant.site, by=user, action="test", subject=name),
        "discovered": Sensor.objects.create(
            asset=asset, sensor_id=f"{name}.found", kind="generic", unit="1", status=Sensor.Status.DISCOVERED
        ),
        "site": plant.site,
        "asset": asset,
        "sensor": sensor,
        "alert": alert,
        "assetdocument": AssetDocument.objects.create(
            asset=asset, name=f"{name} manual.pdf", file="assets/manual.pdf", size_bytes=9, added_by=user
        ),
        "work_order": order,
        "workorder": order,
        "checklistitem": item,
        "attachment": attachment,
        "maintenancelog": log,
        "verdict": verdict,
        "plan": plan,
        "part": part,
        "partuse": use,
        "batch": batch,
        "readingbatch": batch,
        "import": Import.objects.create(site=plant.site, uploaded_by=user, name=f"{name}.csv", size=1, layout=LAYOUT),
        "pending": Pending.objects.create(batch=batch, consumer="score", error=f"{name} broke"),
        "anomaly": anomaly,
        "qualitypolicy": QualityPolicy.objects.create(site=plant.site),
        "validationpolicy": ValidationPolicy.objects.create(site=plant.site),
        "sensorprofile": SensorProfile.objects.create(sensor=sensor, last_received_at=NOON, cadence_seconds=10),
        "sensorfault": SensorFault.objects.create(
            site=plant.site, sensor=sensor, kind="stuck", began_at=NOON, detail=f"{name} stands still"
        ),
        "unscoredstretch": UnscoredStretch.objects.create(asset=asset, start=NOON, end=NOON, historical=False),
        "trainingrun": TrainingRun.objects.create(sensor=sensor, state="done", asked_by=user),
        "repaircheck": RepairCheck.objects.create(order=order, answer="fixed", reason=f"{name} is normal again."),
        "baseline": Baseline.objects.create(sensor=sensor, valid_from=NOON, readings=1, span_seconds=1),
    }

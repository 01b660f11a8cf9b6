"""Who may do what. Roles are groups; this table is the truth and is written to the database after every migrate.

Views check permissions, never role names. A role has everything the roles in `includes` have.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Role:
    description: str
    permissions: tuple[str, ...] = ()
    includes: tuple[str, ...] = field(default=())


VIEW = tuple(
    f"{app}.view_{model}"
    for app, models in {
        "sensors": (
            *("site", "asset", "assetclass", "assetdocument", "sensor", "reading", "readingbatch"),
            *("sensorprofile", "sensorfault", "annotation", "correction"),
        ),
        "alerts": (
            *("alert", "transition", "rule", "firing", "silence"),
            *("channel", "delivery", "route", "schedule", "escalationpolicy"),
        ),
        "maintenance": (
            *("workorder", "checklistitem", "attachment", "maintenancelog", "verdict", "failuremode", "assettemplate"),
            *("plan", "planoccurrence", "part", "partuse", "report", "reportschedule"),
        ),
        "mlops": ("anomaly", "baseline", "repaircheck"),
    }.items()
    for model in models
)

ASK_MODELS = ("mlops.view_modelversion", "mlops.predict_modelversion")

ROLES: dict[str, Role] = {
    "viewer": Role("Sees everything of their sites.", VIEW),
    "operator": Role(
        "Acknowledges and silences alerts, proposes work orders, enters readings, asks models.",
        (
            "maintenance.add_workorder",
            *("alerts.acknowledge_alert", "alerts.resolve_alert", "alerts.add_silence", "alerts.change_silence"),
            *("sensors.add_reading", *ASK_MODELS),
        ),
        includes=("viewer",),
    ),
    "technician": Role(
        "Does and logs the work, says what was found.",
        (
            "maintenance.change_workorder",
            "maintenance.approve_workorder",
            "maintenance.add_maintenancelog",
            "maintenance.change_maintenancelog",
            "maintenance.add_verdict",
            "maintenance.add_partuse",
            "maintenance.change_partuse",
            "maintenance.add_report",
            "sensors.add_annotation",
            "sensors.change_annotation",
            "sensors.view_quarantined",
            "sensors.access_admin",
        ),
        includes=("operator",),
    ),
    "engineer": Role(
        "Sets up assets, sensors, limits and rules, corrects readings, looks after models and the outbox.",
        (
            "sensors.add_asset",
            "maintenance.add_reportschedule",
            "maintenance.change_reportschedule",
            "sensors.change_asset",
            *(f"sensors.{verb}_assetdocument" for verb in ("add", "change")),
            *(f"sensors.{verb}_assetclass" for verb in ("add", "change")),
            *(
                f"maintenance.{verb}_{model}"
                for model in ("failuremode", "assettemplate")
                for verb in ("add", "change")
            ),
            "sensors.add_sensor",
            "sensors.change_sensor",
            "sensors.change_reading",
            "sensors.settle_quarantined",
            "sensors.view_auditentry",
            *(f"sensors.{verb}_import" for verb in ("view", "add", "change")),
            *(f"sensors.{verb}_qualitypolicy" for verb in ("view", "add", "change")),
            *(f"mlops.{verb}_validationpolicy" for verb in ("view", "add", "change")),
            *(
                f"alerts.{verb}_{model}"
                for model in ("rule", "route", "schedule", "escalationpolicy")
                for verb in ("add", "change")
            ),
            *(f"maintenance.{verb}_{model}" for model in ("plan", "part") for verb in ("add", "change")),
            "mlops.view_deployment",
            "mlops.change_deployment",
            *(f"mlops.{verb}_trainingrun" for verb in ("view", "add")),
            "mlops.view_unscoredstretch",
            *(f"alerts.{verb}_channel" for verb in ("add", "change")),
            "alerts.redrive_delivery",
            "alerts.view_messagetemplate",
            "sensors.view_pending",
            "sensors.change_pending",
        ),
        includes=("technician",),
    ),
    "admin": Role(
        "Users, keys, sites, everything.",
        (
            "sensors.view_all_sites",
            "sensors.add_site",
            "sensors.change_site",
            "sensors.view_apikey",
            "sensors.add_apikey",
            "sensors.change_apikey",
            "auth.view_user",
            "auth.add_user",
            "auth.change_user",
            "auth.view_group",
            "alerts.add_messagetemplate",
            "mlops.open_mlflow",
            *(f"django_celery_beat.{verb}_periodictask" for verb in ("view", "change")),
        ),
        includes=("engineer",),
    ),
    "integration": Role(
        "Programs: send readings, read the API, ask models.", ("sensors.add_reading", *ASK_MODELS), includes=("viewer",)
    ),
}


def permissions_of(role: str) -> set[str]:
    """Every permission of a role, as `app.codename`, those of included roles among them."""
    spec = ROLES[role]
    return set(spec.permissions).union(*(permissions_of(other) for other in spec.includes))


def sync_roles(**_: Any) -> None:
    """Make the groups in the database equal to the table. Raises LookupError for a permission that does not exist."""
    from django.contrib.auth.models import Group, Permission

    known = {
        f"{app}.{codename}": pk
        for pk, app, codename in Permission.objects.values_list("pk", "content_type__app_label", "codename")
    }
    for name in ROLES:
        wanted = permissions_of(name)
        if missing := wanted - known.keys():
            raise LookupError(f"Role {name} names permissions that do not exist: {sorted(missing)}")
        group, _created = Group.objects.get_or_create(name=name)
        group.permissions.set([known[codename] for codename in wanted])

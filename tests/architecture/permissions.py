"""Who gets which URL: one row per URL and method. A URL without a row fails the tests, and so does a row without a URL.

`roles` get what `answers` says; other people who are logged in get 403, anonymous callers are sent to the login (401 in
the API). Objects of other sites are `elsewhere` (404) to all but admins, who see every site. A method without a row is
refused.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import uuid4

from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone

Things = dict[str, Any]

EVERYBODY = frozenset({"viewer", "operator", "technician", "engineer", "admin", "integration"})
OPERATORS = frozenset({"operator", "technician", "engineer", "admin"})
SENDERS = OPERATORS | {"integration"}
TECHNICIANS = frozenset({"technician", "engineer", "admin"})
ENGINEERS = frozenset({"engineer", "admin"})
ADMINS = frozenset({"admin"})
NOBODY: frozenset[str] = frozenset()
# Also without a login.
PUBLIC = None
# A form that is shown again or leads on, depending on who asks and how far they are.
FORM = frozenset({200, 302})


@dataclass(frozen=True)
class Row:
    method: str
    url: str  # its name, or its route where it has none
    roles: frozenset[str] | None
    of: str = ""  # the kind of object in the URL
    answers: int | frozenset[int] = 200
    elsewhere: int = 404
    send: Callable[[Things], dict[str, Any]] | None = None
    query: str = ""
    kwargs: dict[str, str] = field(default_factory=dict)
    path: str = ""  # for URLs without a name; {pk} stands for the object's
    multipart: bool = False  # how the API is sent to; otherwise as JSON

    @property
    def id(self) -> str:
        return f"{self.method} {self.url}"


def _upload(plant: Things) -> dict[str, Any]:
    rows = b"timestamp,value\n2026-01-01T00:00:00Z,1\n"
    return {"site": plant["site"].pk, "file": SimpleUploadedFile("pump.csv", rows)}


def a_new_asset(things: Things) -> dict[str, Any]:
    return {"template": things["assettemplate"].pk, "site": things["site"].pk, "name": "Fan 9", "key_prefix": "f9"}


def a_document(_: Things) -> dict[str, Any]:
    return {"file": SimpleUploadedFile("manual.pdf", b"%PDF-1.7")}


def a_stretch() -> dict[str, Any]:
    return {"kind": "excluded", "start": "2026-01-01T00:00:00", "end": "2026-01-02T00:00:00"}


def a_route(plant: Things) -> dict[str, Any]:
    return {"name": "Night", "site": plant["site"].pk, "least_severity": 3}


def a_schedule(plant: Things) -> dict[str, Any]:
    return {"name": "Nights", "site": plant["site"].pk, "timezone": "UTC"}


def a_policy(plant: Things) -> dict[str, Any]:
    steps = {f"step{number}-wait_minutes": 15 for number in range(6)}
    policy = {"name": "Nights", "site": plant["site"].pk, "repeat": 1}
    return policy | steps | {"step0-schedule": plant["schedule"].pk}


def a_silence(plant: Things) -> dict[str, Any]:
    end = timezone.now() + timedelta(hours=1)
    return {"site": plant["site"].pk, "asset": plant["asset"].pk, "ends_at": end.isoformat(), "reason": "Trial run"}


def somebody(plant: Things) -> int:
    person = plant["site"].members.first() or plant["work_order"].created_by
    return int(person.pk)


def a_rule(things: Things) -> dict[str, Any]:
    return {
        "name": "Hot",
        "combination": "all",
        "severity": 2,
        "duration_seconds": 60,
        "hysteresis_percent": 2,
        "conditions-TOTAL_FORMS": 1,
        "conditions-INITIAL_FORMS": 0,
        "conditions-0-sensor": things["sensor"].pk,
        "conditions-0-warn_high": "80",
    }


def a_part(things: Things) -> dict[str, Any]:
    return {"site": things["site"].pk, "number": "NU 206", "name": "Roller bearing", "unit": "pcs", "minimum": 0}


def a_use(things: Things) -> dict[str, Any]:
    return {"order": things["work_order"].pk, "part": things["part"].pk, "quantity": "1", "key": str(uuid4())}


def a_plan(_: Things) -> dict[str, Any]:
    return {
        "title": "Grease",
        "priority": 2,
        "lead_days": 7,
        "starts_on": "2026-03-02",
        "due_time": "08:00",
        "interval": 1,
        "repeat": "WEEKLY",
        "counts_from": "scheduled",
        "on_holiday": "keep",
    }


def a_plan_as_json(things: Things) -> dict[str, Any]:
    return {"asset": things["asset"].pk, "title": "Grease", "rule": "FREQ=WEEKLY", "starts_on": "2026-03-02"}


def no_firings(_: Things) -> dict[str, Any]:
    return {"firings": '{"start": "2026-03-01T00:00:00Z", "end": "2026-03-02T00:00:00Z", "spans": []}'}


def a_rule_as_json(things: Things) -> dict[str, Any]:
    return {
        "asset": things["asset"].pk,
        "name": "Hot",
        "conditions": [{"sensor": things["sensor"].pk, "warn_high": 80}],
    }


def in_an_hour() -> dict[str, Any]:
    return {"until": (timezone.now() + timedelta(hours=1)).isoformat()}


WEB = [
    Row("GET", "health", PUBLIC, answers=frozenset({200, 503})),
    Row("GET", "sensors:overview", EVERYBODY),
    Row("GET", "sensors:assets", EVERYBODY),
    Row("GET", "sensors:asset", EVERYBODY, of="asset"),
    Row("GET", "sensors:nameplate", ENGINEERS, of="asset"),
    Row("POST", "sensors:nameplate", ENGINEERS, of="asset", answers=302, send=lambda _: {"criticality": 2}),
    Row("POST", "sensors:add-document", ENGINEERS, of="asset", answers=302, send=a_document),
    # Its file is not there.
    Row("GET", "sensors:document", EVERYBODY, of="assetdocument", answers=503),
    Row("POST", "sensors:remove-document", ENGINEERS, of="assetdocument", answers=302),
    Row("GET", "sensors:label", EVERYBODY, of="asset"),
    Row("GET", "sensors:label-svg", EVERYBODY, of="asset"),
    Row("GET", "sensors:label-png", EVERYBODY, of="asset"),
    Row("GET", "sensors:labels", EVERYBODY, of="site"),
    Row("GET", "sensors:health", EVERYBODY),
    Row("GET", "sensors:readings", EVERYBODY, of="sensor"),
    Row("GET", "sensors:series", EVERYBODY, of="sensor"),
    Row("GET", "sensors:imports", ENGINEERS),
    Row("POST", "sensors:imports", ENGINEERS, answers=302, elsewhere=400, send=_upload),
    Row("GET", "sensors:import", ENGINEERS, of="import"),
    Row("POST", "sensors:import-start", ENGINEERS, of="import", answers=302),
    Row("POST", "sensors:import-cancel", ENGINEERS, of="import", answers=302),
    Row("GET", "sensors:connect", EVERYBODY, of="sensor"),
    Row("GET", "sensors:annotations", EVERYBODY, of="asset"),
    Row("GET", "sensors:annotate", TECHNICIANS, of="asset"),
    Row("POST", "sensors:annotate", TECHNICIANS, of="asset", answers=302, send=lambda _: a_stretch()),
    Row("GET", "sensors:remove-annotation", TECHNICIANS, of="annotation", answers=302),
    Row("POST", "sensors:remove-annotation", TECHNICIANS, of="annotation", answers=302),
    Row("GET", "sensors:enter", SENDERS, of="asset"),
    Row(
        "POST",
        "sensors:enter",
        SENDERS,
        of="asset",
        answers=302,
        send=lambda plant: {
            "at": "2026-03-01T12:00:00",
            **{f"unit_{sensor.pk}": sensor.unit for sensor in plant["asset"].sensors.all()},
            f"value_{plant['sensor'].pk}": 1,
        },
    ),
    Row("GET", "sensors:correct", ENGINEERS, of="sensor", query="at=2026-03-01T12:00:00Z"),
    Row(
        "POST",
        "sensors:correct",
        ENGINEERS,
        of="sensor",
        answers=302,
        query="at=2026-03-01T12:00:00Z",
        send=lambda _: {"value": 2},
    ),
    Row("GET", "sensors:discovered", ENGINEERS),
    Row("POST", "sensors:discovered", ENGINEERS, answers=422),
    Row("GET", "sensors:place", ENGINEERS, of="discovered"),
    Row(
        "POST",
        "sensors:place",
        ENGINEERS,
        of="discovered",
        answers=302,
        send=lambda plant: {"asset": plant["asset"].pk, "kind": "sound", "unit": "dB"},
    ),
    Row("GET", "sensors:quarantine", TECHNICIANS),
    Row("GET", "sensors:quarantine-group", TECHNICIANS, query="code=unknown_sensor"),
    Row("POST", "sensors:quarantine-group", ENGINEERS, answers=302, query="code=unknown_sensor"),
    Row("GET", "sensors:quarantined", TECHNICIANS, of="quarantined"),
    Row(
        "POST",
        "sensors:quarantined",
        ENGINEERS,
        of="quarantined",
        answers=302,
        send=lambda plant: {"sensor_id": plant["sensor"].sensor_id, "timestamp": "2026-01-01T00:00:00Z", "value": 1},
    ),
    Row("POST", "sensors:discard-quarantined", ENGINEERS, of="quarantined", answers=302),
    Row("GET", "alerts:inbox", EVERYBODY),
    Row("GET", "alerts:open-panel", EVERYBODY),
    Row("GET", "alerts:attention-panel", EVERYBODY),
    Row("GET", "alerts:critical", EVERYBODY),
    Row("GET", "alerts:statistics", EVERYBODY),
    Row("GET", "alerts:for-asset", EVERYBODY, of="asset"),
    Row("GET", "alerts:rules", EVERYBODY),
    Row("GET", "alerts:rule", EVERYBODY, of="rule"),
    Row("GET", "alerts:new-rule", ENGINEERS),
    Row("POST", "alerts:new-rule", ENGINEERS),
    Row("GET", "alerts:edit-rule", ENGINEERS, of="rule"),
    Row("POST", "alerts:edit-rule", ENGINEERS, of="rule", answers=302, send=a_rule),
    Row("POST", "alerts:switch-rule", ENGINEERS, of="rule", answers=302),
    Row("POST", "alerts:delete-rule", ENGINEERS, of="rule", answers=302),
    Row("GET", "alerts:limits", EVERYBODY, of="sensor"),
    Row("POST", "alerts:limits", ENGINEERS, of="sensor", answers=302, send=lambda _: {"warn_high": "80,5"}),
    Row("GET", "alerts:alert", EVERYBODY, of="alert"),
    Row("POST", "alerts:acknowledge", OPERATORS, of="alert", answers=302),
    Row("POST", "alerts:acknowledge-many", OPERATORS, answers=302),
    Row("POST", "alerts:snooze", OPERATORS, of="alert", answers=302),
    Row("POST", "alerts:assign", OPERATORS, of="alert", answers=302),
    Row("POST", "alerts:comment", OPERATORS, of="alert", answers=302),
    Row("POST", "alerts:resolve", OPERATORS, of="alert", answers=302),
    Row("GET", "alerts:messages", EVERYBODY, of="alert"),
    Row("GET", "alerts:routes", EVERYBODY),
    Row("GET", "alerts:new-route", ENGINEERS),
    Row("POST", "alerts:new-route", ENGINEERS, answers=302, elsewhere=422, send=a_route),
    Row("GET", "alerts:route", ENGINEERS, of="route"),
    Row("POST", "alerts:route", ENGINEERS, of="route", answers=302, send=a_route),
    Row("GET", "alerts:silences", EVERYBODY),
    Row(
        "POST",
        "alerts:silences",
        OPERATORS,
        answers=302,
        elsewhere=422,
        send=lambda plant: {"asset": plant["asset"].pk, "hours": "4", "reason": "Trial run"},
    ),
    Row("POST", "alerts:end-silence", OPERATORS, of="silence", answers=302),
    Row("GET", "alerts:schedules", EVERYBODY),
    Row("GET", "alerts:new-schedule", ENGINEERS),
    Row("POST", "alerts:new-schedule", ENGINEERS, answers=302, elsewhere=422, send=a_schedule),
    Row("GET", "alerts:schedule", EVERYBODY, of="schedule"),
    Row(
        "POST",
        "alerts:change-schedule",
        ENGINEERS,
        of="schedule",
        answers=302,
        send=lambda plant: {f"schedule-{name}": value for name, value in a_schedule(plant).items()},
    ),
    Row(
        "POST",
        "alerts:add-rotation",
        ENGINEERS,
        of="schedule",
        answers=302,
        send=lambda plant: {
            "rotation-starts_on": "2026-03-02",
            "rotation-hand_over": "08:00",
            "rotation-every": "week",
            "rotation-hours": 8,
            "rotation-turn_1": somebody(plant),
        },
    ),
    Row(
        "POST",
        "alerts:add-override",
        ENGINEERS,
        of="schedule",
        answers=302,
        send=lambda plant: {
            "override-start": "2026-03-02T08:00:00",
            "override-end": "2026-03-02T20:00:00",
            "override-person": somebody(plant),
        },
    ),
    Row("GET", "alerts:policies", EVERYBODY),
    Row("GET", "alerts:new-policy", ENGINEERS),
    Row("POST", "alerts:new-policy", ENGINEERS, answers=302, elsewhere=422, send=a_policy),
    Row("GET", "alerts:policy", ENGINEERS, of="escalationpolicy"),
    Row("POST", "alerts:policy", ENGINEERS, of="escalationpolicy", answers=302, send=a_policy),
    Row("GET", "alerts:preferences", EVERYBODY),
    Row(
        "POST",
        "alerts:preferences",
        EVERYBODY,
        answers=302,
        elsewhere=302,
        send=lambda _: {"timezone": "UTC", "digest": "day", "per_hour": 6},
    ),
    Row("GET", "alerts:channels", EVERYBODY),
    Row("GET", "alerts:new-channel", ENGINEERS),
    Row(
        "POST",
        "alerts:new-channel",
        ENGINEERS,
        answers=302,
        elsewhere=200,
        send=lambda plant: {"name": "Log", "kind": "console", "site": plant["site"].pk, "per_minute": 60},
    ),
    Row("GET", "alerts:channel", ENGINEERS, of="channel"),
    Row(
        "POST",
        "alerts:channel",
        ENGINEERS,
        of="channel",
        answers=302,
        send=lambda plant: {"name": "Log", "site": plant["site"].pk, "per_minute": 60},
    ),
    Row("POST", "alerts:test-channel", ENGINEERS, of="channel", answers=302),
    Row("POST", "alerts:redrive-channel", ENGINEERS, of="channel", answers=302),
    Row("GET", "alerts:deliveries", EVERYBODY),
    Row("GET", "alerts:delivery", EVERYBODY, of="delivery"),
    Row("POST", "alerts:redrive", ENGINEERS, of="delivery", answers=302),
    # An invented link.
    Row("GET", "alerts:by-link", PUBLIC, answers=404, kwargs={"token": "invented"}),
    Row("POST", "alerts:by-link", PUBLIC, answers=404, kwargs={"token": "invented"}),
    Row("GET", "maintenance:calendar", EVERYBODY),
    Row("GET", "maintenance:workload", EVERYBODY),
    Row("GET", "maintenance:calendar-link", EVERYBODY),
    Row("POST", "maintenance:calendar-link", EVERYBODY),
    # The secret says who asks; this one is nobody's.
    Row("GET", "maintenance:calendar-feed", PUBLIC, answers=404, kwargs={"secret": "invented"}),
    Row("GET", "maintenance:parts", EVERYBODY),
    Row("GET", "maintenance:new-part", ENGINEERS),
    Row("POST", "maintenance:new-part", ENGINEERS, answers=302, elsewhere=422, send=a_part),
    Row("GET", "maintenance:part", EVERYBODY, of="part"),
    Row("POST", "maintenance:part", ENGINEERS, of="part", answers=302, send=a_part),
    Row("POST", "maintenance:deliver-part", ENGINEERS, of="part", answers=302, send=lambda _: {"quantity": 1}),
    Row("POST", "maintenance:count-part", ENGINEERS, of="part", answers=302, send=lambda _: {"quantity": 1}),
    Row("GET", "maintenance:parts-of-order", EVERYBODY, of="work_order"),
    Row("POST", "maintenance:take-part", TECHNICIANS, of="work_order", answers=302, send=a_use),
    Row("GET", "maintenance:put-back", TECHNICIANS, of="partuse", answers=302),
    Row("POST", "maintenance:put-back", TECHNICIANS, of="partuse", answers=302),
    Row("GET", "maintenance:plans", EVERYBODY),
    Row("GET", "maintenance:new-plan", ENGINEERS),
    Row("POST", "maintenance:new-plan", ENGINEERS),
    Row("GET", "maintenance:plan", EVERYBODY, of="plan"),
    Row("GET", "maintenance:edit-plan", ENGINEERS, of="plan"),
    Row("POST", "maintenance:edit-plan", ENGINEERS, of="plan", answers=302, send=a_plan),
    Row("POST", "maintenance:switch-plan", ENGINEERS, of="plan", answers=302),
    Row("GET", "maintenance:work-orders", EVERYBODY),
    Row("GET", "maintenance:mine", TECHNICIANS),
    Row("GET", "maintenance:worker", EVERYBODY),
    Row("GET", "maintenance:due-panel", EVERYBODY),
    Row("GET", "maintenance:classes", EVERYBODY),
    Row("GET", "maintenance:new-asset", ENGINEERS),
    Row("POST", "maintenance:new-asset", ENGINEERS, answers=302, elsewhere=400, send=a_new_asset),
    Row("GET", "maintenance:figures", EVERYBODY),
    Row("GET", "maintenance:log-book", EVERYBODY),
    Row("GET", "maintenance:reports", EVERYBODY),
    Row("GET", "maintenance:report", EVERYBODY, of="report"),
    Row(
        "POST",
        "maintenance:make-report",
        TECHNICIANS,
        answers=302,
        elsewhere=422,
        send=lambda plant: {"site": plant["site"].pk, "first": "2026-01-01", "last": "2026-01-31"},
    ),
    Row(
        "POST",
        "maintenance:schedule-report",
        ENGINEERS,
        answers=302,
        elsewhere=422,
        send=lambda plant: {"site": plant["site"].pk, "every": "month", "is_active": "on"},
    ),
    Row("GET", "maintenance:log-entry", EVERYBODY, of="maintenancelog"),
    Row("GET", "maintenance:work-marks", EVERYBODY, of="asset"),
    Row("GET", "maintenance:write-log", TECHNICIANS, of="asset"),
    Row("POST", "maintenance:write-log", TECHNICIANS, of="asset", answers=302, send=lambda _: {"notes": "Greased."}),
    Row("GET", "maintenance:for-asset", EVERYBODY, of="asset"),
    Row("POST", "maintenance:foretold", EVERYBODY, of="asset", send=no_firings),
    Row("GET", "maintenance:for-alert", EVERYBODY, of="alert"),
    Row("GET", "maintenance:open-for-asset", OPERATORS, of="asset"),
    Row(
        "POST",
        "maintenance:open-for-asset",
        OPERATORS,
        of="asset",
        answers=302,
        send=lambda _: {"title": "Grease it", "priority": 2},
    ),
    Row("POST", "maintenance:open-for-alert", OPERATORS, of="alert", answers=302),
    Row("GET", "maintenance:work-order", EVERYBODY, of="work_order"),
    *(
        Row("POST", f"maintenance:{step}", TECHNICIANS, of="work_order", answers=302)
        for step in ("approve", "start", "hold", "finish", "reopen", "cancel")
    ),
    Row(
        "POST",
        "maintenance:schedule",
        TECHNICIANS,
        of="work_order",
        answers=302,
        send=lambda _: {"planned_start": "2026-03-02T08:00"},
    ),
    Row("POST", "maintenance:log", TECHNICIANS, of="work_order", answers=302, send=lambda _: {"notes": "Greased."}),
    Row(
        "POST",
        "maintenance:attach",
        TECHNICIANS,
        of="work_order",
        answers=302,
        send=lambda _: {"file": SimpleUploadedFile("note.txt", b"Greased.")},
    ),
    Row("GET", "maintenance:attachment", EVERYBODY, of="attachment"),
    Row("GET", "maintenance:answer", TECHNICIANS, of="checklistitem", answers=302),
    Row("POST", "maintenance:answer", TECHNICIANS, of="checklistitem", answers=302, send=lambda _: {"value": "3"}),
    Row("GET", "maintenance:follow-up", OPERATORS, of="checklistitem", answers=302),
    Row("POST", "maintenance:follow-up", OPERATORS, of="checklistitem", answers=302),
    Row("POST", "maintenance:comment", OPERATORS, of="work_order", answers=302, send=lambda _: {"text": "Soon."}),
    Row(
        "POST",
        "maintenance:close",
        TECHNICIANS,
        of="work_order",
        answers=302,
        send=lambda _: {"outcome": "fault_found"},
    ),
    Row("GET", "mlops:for-asset", EVERYBODY, of="asset"),
    Row("GET", "mlops:health", EVERYBODY, of="asset"),
    Row("GET", "mlops:fleet-health", EVERYBODY),
    Row("GET", "mlops:repair", EVERYBODY, of="work_order"),
    Row("GET", "mlops:validation", EVERYBODY),
    Row("GET", "mlops:marks", EVERYBODY, of="asset"),
    Row("GET", "mlops:models", ENGINEERS),
    Row("GET", "mlops:predict", SENDERS),
    # No pool answers here.
    Row("POST", "mlops:predict", SENDERS, answers=422, elsewhere=422, send=lambda _: {"feature_0": "20"}),
    Row("GET", "mlops:training", ENGINEERS),
    Row("GET", "mlops:version", SENDERS, of="modelversion"),
    Row("POST", "mlops:train", ENGINEERS, answers=302, send=lambda things: {"sensor": things["sensor"].pk}),
    Row("POST", "mlops:train", ENGINEERS, answers=302, send=lambda things: {"asset": things["asset"].pk}),
    Row("POST", "mlops:deploy", ENGINEERS, of="modelversion", answers=302),
    Row("POST", "mlops:evict", ENGINEERS, of="deployment", answers=302),
    Row("POST", "mlops:withdraw", ENGINEERS, of="deployment", answers=302, send=lambda _: {"why": "It cries wolf."}),
    # No MLflow runs in these tests; and what would change something is not passed through.
    Row("GET", "mlops:mlflow", ADMINS, answers=503),
    Row("GET", "mlops:mlflow-path", ADMINS, answers=503, kwargs={"path": "ajax-api/2.0/mlflow/experiments/get"}),
    Row("POST", "mlops:mlflow", ADMINS, answers=404),
    Row("POST", "mlops:mlflow-path", ADMINS, answers=503, kwargs={"path": "ajax-api/2.0/mlflow/runs/search"}),
    Row("POST", "mlops:mlflow-path", ADMINS, answers=404, kwargs={"path": "ajax-api/2.0/mlflow/runs/delete"}),
]

API = [
    Row("GET", "schema", EVERYBODY),
    Row("GET", "api-docs", EVERYBODY),
    Row(
        "POST",
        "api:readings",
        SENDERS,
        answers=201,
        elsewhere=422,
        send=lambda plant: {
            "sensor_id": plant["sensor"].sensor_id,
            "timestamp": "2026-01-01T00:00:00Z",
            "value": 1,
        },
    ),
    # What is sent here as JSON is no line protocol: whoever may send is told so.
    Row("POST", "line-protocol", SENDERS, answers=422, elsewhere=422, send=lambda _: {"not": "a line"}),
    Row("GET", "api:batch-detail", EVERYBODY, of="batch"),
    Row("GET", "api:site-list", EVERYBODY),
    Row("GET", "api:site-detail", EVERYBODY, of="site"),
    Row("GET", "api:asset-list", EVERYBODY),
    Row(
        "POST",
        "api:asset-list",
        ENGINEERS,
        answers=201,
        elsewhere=400,
        send=lambda plant: {"site": plant["site"].pk, "name": "Fan"},
    ),
    Row("GET", "api:asset-detail", EVERYBODY, of="asset"),
    Row("PATCH", "api:asset-detail", ENGINEERS, of="asset", send=lambda _: {"criticality": 1}),
    Row("GET", "api:sensor-list", EVERYBODY),
    Row(
        "POST",
        "api:sensor-list",
        ENGINEERS,
        answers=201,
        elsewhere=400,
        send=lambda plant: {"asset": plant["asset"].pk, "sensor_id": "fan", "kind": "sound", "unit": "dB"},
    ),
    Row("GET", "api:sensor-detail", EVERYBODY, of="sensor"),
    Row("PATCH", "api:sensor-detail", ENGINEERS, of="sensor", send=lambda _: {"name": "Bearing"}),
    Row("GET", "api:sensor-readings", EVERYBODY, of="sensor"),
    Row("GET", "api:sensor-series", EVERYBODY, of="sensor"),
    Row("GET", "api:sensor-series-export", EVERYBODY, of="sensor"),
    *(
        Row("GET", f"api:{name}-export", EVERYBODY)
        for name in (
            "asset",
            "sensor",
            "batch",
            "alert",
            "work-order",
            "verdict",
            "plan",
            "plan-occurrence",
            "part",
            "part-use",
            "anomaly",
        )
    ),
    Row("GET", "api:import-list", ENGINEERS),
    Row("POST", "api:import-list", ENGINEERS, answers=201, elsewhere=400, send=_upload, multipart=True),
    Row("GET", "api:import-detail", ENGINEERS, of="import"),
    # Its file is gone.
    Row("POST", "api:import-run", ENGINEERS, of="import", answers=409),
    Row("POST", "api:import-cancel", ENGINEERS, of="import"),
    Row("GET", "api:quarantined-list", TECHNICIANS),
    Row("GET", "api:quarantined-detail", TECHNICIANS, of="quarantined"),
    Row("POST", "api:quarantined-readmit", ENGINEERS, of="quarantined"),
    Row("POST", "api:quarantined-discard", ENGINEERS, of="quarantined"),
    Row("GET", "api:annotation-list", EVERYBODY),
    Row(
        "POST",
        "api:annotation-list",
        TECHNICIANS,
        answers=201,
        elsewhere=400,
        send=lambda plant: {"asset": plant["asset"].pk, "start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z"},
    ),
    Row("GET", "api:annotation-detail", EVERYBODY, of="annotation"),
    Row("POST", "api:annotation-remove", TECHNICIANS, of="annotation"),
    Row("GET", "api:correction-list", EVERYBODY),
    Row("GET", "api:audit-entry-list", ENGINEERS),
    Row("GET", "api:sensor-fault-list", EVERYBODY),
    Row("GET", "api:sensor-fault-detail", EVERYBODY, of="sensorfault"),
    Row("GET", "api:rule-list", EVERYBODY),
    Row("POST", "api:rule-list", ENGINEERS, answers=201, elsewhere=400, send=a_rule_as_json),
    Row("GET", "api:rule-detail", EVERYBODY, of="rule"),
    Row("PATCH", "api:rule-detail", ENGINEERS, of="rule", send=lambda _: {"enabled": False}),
    Row("POST", "api:rule-backtest", ENGINEERS, of="rule"),
    Row(
        "POST",
        "api:rule-trial",
        ENGINEERS,
        elsewhere=400,
        send=lambda things: {"rule": a_rule_as_json(things)},
    ),
    Row("GET", "api:firing-list", EVERYBODY),
    Row("GET", "api:alert-list", EVERYBODY),
    Row("GET", "api:alert-statistics", EVERYBODY),
    Row("GET", "api:report-list", EVERYBODY),
    Row("GET", "api:report-detail", EVERYBODY, of="report"),
    Row("GET", "api:report-pdf", EVERYBODY, of="report"),
    Row(
        "POST",
        "api:report-list",
        TECHNICIANS,
        answers=201,
        elsewhere=400,
        send=lambda plant: {
            "site": plant["site"].pk,
            "start": "2026-01-01T00:00:00Z",
            "end": "2026-02-01T00:00:00Z",
        },
    ),
    Row("GET", "api:log-list", EVERYBODY),
    Row("GET", "api:log-detail", EVERYBODY, of="maintenancelog"),
    Row("GET", "api:log-export", EVERYBODY),
    Row(
        "POST",
        "api:log-list",
        TECHNICIANS,
        answers=201,
        elsewhere=400,
        send=lambda plant: {"asset": plant["asset"].pk, "notes": "Greased."},
    ),
    # Who sees several sites has to name one.
    Row("GET", "api:figures", EVERYBODY, answers=frozenset({200, 400})),
    Row("GET", "api:figures-export", EVERYBODY, answers=frozenset({200, 400})),
    Row("GET", "api:alert-detail", EVERYBODY, of="alert"),
    Row("POST", "api:alert-acknowledge", OPERATORS, of="alert"),
    Row("POST", "api:alert-snooze", OPERATORS, of="alert", send=lambda _: in_an_hour()),
    Row("POST", "api:alert-assign", OPERATORS, of="alert", send=lambda _: {"to": None}),
    Row("POST", "api:alert-comment", OPERATORS, of="alert", send=lambda _: {"text": "Seen."}),
    Row("POST", "api:alert-resolve", OPERATORS, of="alert"),
    Row("GET", "api:channel-list", EVERYBODY),
    Row("GET", "api:channel-detail", EVERYBODY, of="channel"),
    Row("POST", "api:channel-test", ENGINEERS, of="channel", answers=202),
    Row("GET", "api:delivery-list", EVERYBODY),
    Row("GET", "api:delivery-detail", EVERYBODY, of="delivery"),
    # It has not failed.
    Row("POST", "api:delivery-redrive", ENGINEERS, of="delivery", answers=409),
    Row("POST", "api:alert-work-order", OPERATORS, of="alert"),
    Row("GET", "api:route-list", EVERYBODY),
    Row("POST", "api:route-list", ENGINEERS, answers=201, elsewhere=400, send=a_route),
    Row("GET", "api:route-detail", EVERYBODY, of="route"),
    Row("PATCH", "api:route-detail", ENGINEERS, of="route", send=lambda _: {"enabled": False}),
    Row("POST", "api:route-preview", EVERYBODY, elsewhere=422, send=lambda plant: {"alert": plant["alert"].pk}),
    Row("GET", "api:silence-list", EVERYBODY),
    Row("POST", "api:silence-list", OPERATORS, answers=201, elsewhere=400, send=a_silence),
    Row("GET", "api:silence-detail", EVERYBODY, of="silence"),
    Row("POST", "api:silence-end", OPERATORS, of="silence"),
    Row("GET", "api:schedule-list", EVERYBODY),
    Row("POST", "api:schedule-list", ENGINEERS, answers=201, elsewhere=400, send=a_schedule),
    Row("GET", "api:schedule-detail", EVERYBODY, of="schedule"),
    Row("PATCH", "api:schedule-detail", ENGINEERS, of="schedule", send=lambda _: {"name": "Days"}),
    Row("GET", "api:schedule-shifts", EVERYBODY, of="schedule"),
    Row(
        "POST",
        "api:schedule-rotation",
        ENGINEERS,
        of="schedule",
        send=lambda plant: {
            "starts_on": "2026-03-02",
            "hand_over": "08:00",
            "every": "week",
            "people": [User.objects.get(pk=somebody(plant)).username],
        },
    ),
    Row(
        "POST",
        "api:schedule-override",
        ENGINEERS,
        of="schedule",
        send=lambda plant: {
            "person": User.objects.get(pk=somebody(plant)).username,
            "start": "2026-03-02T08:00:00Z",
            "end": "2026-03-02T20:00:00Z",
        },
    ),
    Row("GET", "api:escalation-policy-list", EVERYBODY),
    Row(
        "POST",
        "api:escalation-policy-list",
        ENGINEERS,
        answers=201,
        elsewhere=400,
        send=lambda plant: {
            "name": "Nights",
            "site": plant["site"].pk,
            "steps": [{"wait_minutes": 5, "schedule": plant["schedule"].pk}],
        },
    ),
    Row("GET", "api:escalation-policy-detail", EVERYBODY, of="escalationpolicy"),
    Row("PATCH", "api:escalation-policy-detail", ENGINEERS, of="escalationpolicy", send=lambda _: {"repeat": 3}),
    Row("GET", "api:preferences", EVERYBODY),
    Row("PATCH", "api:preferences", EVERYBODY, elsewhere=200, send=lambda _: {"per_hour": 4}),
    Row("GET", "api:work-order-list", EVERYBODY),
    Row("GET", "api:work-order-detail", EVERYBODY, of="work_order"),
    Row(
        "POST",
        "api:work-order-list",
        OPERATORS,
        answers=201,
        elsewhere=400,
        send=lambda plant: {"asset": plant["asset"].pk, "title": "Grease it"},
    ),
    # The order in the table is approved; what is not possible then is refused after the permission was looked at.
    *(
        Row(
            "POST",
            f"api:work-order-{step}",
            TECHNICIANS,
            of="work_order",
            answers=answers,
            send=lambda _: {"reason": "x"},
        )
        for step, answers in {
            "approve": 200,
            "start": 200,
            "hold": 409,
            "finish": 409,
            "reopen": 409,
            "cancel": 200,
        }.items()
    ),
    Row(
        "POST",
        "api:work-order-schedule",
        TECHNICIANS,
        of="work_order",
        send=lambda _: {"planned_start": "2026-03-02T08:00:00Z"},
    ),
    Row("POST", "api:work-order-log", TECHNICIANS, of="work_order", answers=201, send=lambda _: {"notes": "Greased."}),
    Row("POST", "api:work-order-comment", OPERATORS, of="work_order", answers=201, send=lambda _: {"text": "Soon."}),
    Row("POST", "api:work-order-close", TECHNICIANS, of="work_order", send=lambda _: {"outcome": "fault_found"}),
    Row("GET", "api:part-list", EVERYBODY),
    Row("POST", "api:part-list", ENGINEERS, answers=201, elsewhere=400, send=a_part),
    Row("GET", "api:part-detail", EVERYBODY, of="part"),
    Row("PATCH", "api:part-detail", ENGINEERS, of="part", send=lambda _: {"minimum": 2}),
    Row("POST", "api:part-deliver", ENGINEERS, of="part", send=lambda _: {"quantity": 1}),
    Row("POST", "api:part-count", ENGINEERS, of="part", send=lambda _: {"quantity": 1}),
    Row("GET", "api:part-use-list", EVERYBODY),
    Row("POST", "api:part-use-list", TECHNICIANS, answers=201, elsewhere=400, send=a_use),
    Row("POST", "api:part-use-put-back", TECHNICIANS, of="partuse"),
    Row("GET", "api:plan-list", EVERYBODY),
    Row("POST", "api:plan-list", ENGINEERS, answers=201, elsewhere=400, send=a_plan_as_json),
    Row("GET", "api:plan-detail", EVERYBODY, of="plan"),
    Row("PATCH", "api:plan-detail", ENGINEERS, of="plan", send=lambda _: {"enabled": False}),
    Row("GET", "api:plan-dates", EVERYBODY, of="plan"),
    Row("GET", "api:plan-occurrence-list", EVERYBODY),
    Row("GET", "api:model-list", SENDERS),
    Row("GET", "api:model-detail", SENDERS, of="modelversion"),
    # No pool answers here.
    Row("POST", "api:predict", SENDERS, answers=503, send=lambda things: {"sensor": things["sensor"].pk}),
    Row("GET", "api:sensor-scores", EVERYBODY, of="sensor", answers=503),
    *(
        Row("GET", f"api:{name}-{kind}", EVERYBODY, of=name.replace("-", "") if kind == "detail" else "")
        for name in ("asset-class", "failure-mode", "asset-template")
        for kind in ("list", "detail")
    ),
    Row(
        "POST",
        "api:asset-template-create-asset",
        ENGINEERS,
        of="assettemplate",
        answers=201,
        elsewhere=400,
        send=a_new_asset,
    ),
    Row("GET", "api:repair-check-list", EVERYBODY),
    Row("GET", "api:repair-check-detail", EVERYBODY, of="repaircheck"),
    Row("GET", "api:asset-health-list", EVERYBODY),
    Row("GET", "api:asset-health-detail", EVERYBODY, of="asset"),
    Row("GET", "api:detector-precision", EVERYBODY),
    Row("GET", "api:anomaly-list", EVERYBODY),
    Row("GET", "api:anomaly-detail", EVERYBODY, of="anomaly"),
    Row("GET", "api:checklist-item-list", EVERYBODY),
    Row("POST", "api:checklist-item-answer", TECHNICIANS, of="checklistitem", send=lambda _: {"value": 3}),
    Row("POST", "api:checklist-item-follow-up", OPERATORS, of="checklistitem"),
    Row("GET", "api:attachment-list", EVERYBODY),
    Row(
        "POST",
        "api:attachment-list",
        TECHNICIANS,
        answers=201,
        elsewhere=400,
        multipart=True,
        send=lambda plant: {"order": plant["work_order"].pk, "file": SimpleUploadedFile("note.txt", b"Greased.")},
    ),
    Row("GET", "api:attachment-content", EVERYBODY, of="attachment"),
    Row("GET", "api:verdict-list", EVERYBODY),
]

# Pages of one's own login; who is not logged in is led to the login or sees nothing but an empty form.
ACCOUNTS = [
    *(
        Row(method, f"account_{name}", PUBLIC, answers=FORM)
        for name in ("login", "logout", "signup", "reset_password")
        for method in ("GET", "POST")
    ),
    *(
        Row("GET", f"account_{name}", PUBLIC, answers=FORM)
        for name in (
            "inactive",
            "email_verification_sent",
            "confirm_login_code",
            "reset_password_done",
            "reset_password_from_key_done",
        )
    ),
    Row("GET", "account_confirm_email", PUBLIC, kwargs={"key": "invented"}),
    Row("GET", "account_reset_password_from_key", PUBLIC, kwargs={"uidb36": "1", "key": "invented"}),
    Row("GET", "mfa_authenticate", PUBLIC, answers=302),
    *(
        Row(method, name, EVERYBODY, answers=FORM)
        for name in ("account_email", "account_change_password", "account_set_password", "account_reauthenticate")
        for method in ("GET", "POST")
    ),
    Row("GET", "mfa_index", EVERYBODY),
    *(Row("GET", f"mfa_{name}", EVERYBODY, answers=FORM) for name in ("reauthenticate", "activate_totp")),
    *(
        Row("GET", f"mfa_{name}", EVERYBODY, answers=FORM | {404})
        for name in ("deactivate_totp", "view_recovery_codes", "generate_recovery_codes", "download_recovery_codes")
    ),
]

ADMIN = [
    Row("GET", "admin:index", TECHNICIANS),
    Row("GET", "admin:login", TECHNICIANS, answers=302),
    Row("POST", "admin:logout", TECHNICIANS, answers=FORM),
    Row("GET", "admin:password_change", TECHNICIANS),
    Row("GET", "admin:password_change_done", TECHNICIANS),
    Row("GET", "admin:jsi18n", TECHNICIANS),
    Row("GET", "admin:app_list", TECHNICIANS, kwargs={"app_label": "sensors"}),
    Row("GET", "admin:autocomplete", TECHNICIANS, query="app_label=sensors&model_name=sensor&field_name=asset"),
    Row("GET", "admin/(?P<url>.*)$", TECHNICIANS, answers=404, path="/admin/nothing/here/"),
    Row("GET", "admin:auth_user_password_change", ADMINS, of="user"),
    Row("POST", "admin:auth_user_password_change", ADMINS, of="user"),
]
# Model: who may view, add and change its rows. Nobody deletes any.
ADMIN_MODELS = {
    "sensors.site": (TECHNICIANS, ADMINS, ADMINS),
    "sensors.asset": (TECHNICIANS, ENGINEERS, ENGINEERS),
    "sensors.sensor": (TECHNICIANS, ENGINEERS, ENGINEERS),
    "sensors.qualitypolicy": (ENGINEERS, ENGINEERS, ENGINEERS),
    "sensors.sensorprofile": (TECHNICIANS, NOBODY, NOBODY),
    "sensors.sensorfault": (TECHNICIANS, NOBODY, NOBODY),
    "sensors.readingbatch": (TECHNICIANS, NOBODY, NOBODY),
    "sensors.import": (ENGINEERS, NOBODY, NOBODY),
    "sensors.pending": (ENGINEERS, NOBODY, NOBODY),
    "sensors.apikey": (ADMINS, ADMINS, ADMINS),
    "sensors.quarantined": (TECHNICIANS, NOBODY, NOBODY),
    "sensors.auditentry": (ENGINEERS, NOBODY, NOBODY),
    "sensors.correction": (TECHNICIANS, NOBODY, NOBODY),
    "sensors.annotation": (TECHNICIANS, NOBODY, NOBODY),
    "alerts.alert": (TECHNICIANS, NOBODY, NOBODY),
    "alerts.rule": (TECHNICIANS, NOBODY, NOBODY),
    "alerts.firing": (TECHNICIANS, NOBODY, NOBODY),
    "alerts.channel": (TECHNICIANS, NOBODY, NOBODY),
    "alerts.delivery": (TECHNICIANS, NOBODY, NOBODY),
    "alerts.messagetemplate": (ENGINEERS, ADMINS, NOBODY),
    "alerts.silence": (TECHNICIANS, NOBODY, NOBODY),
    "alerts.schedule": (TECHNICIANS, ENGINEERS, ENGINEERS),
    "alerts.escalationpolicy": (TECHNICIANS, ENGINEERS, ENGINEERS),
    "alerts.route": (TECHNICIANS, ENGINEERS, ENGINEERS),
    "sensors.assetclass": (TECHNICIANS, ENGINEERS, ENGINEERS),
    "maintenance.failuremode": (TECHNICIANS, ENGINEERS, ENGINEERS),
    "maintenance.assettemplate": (TECHNICIANS, ENGINEERS, ENGINEERS),
    "maintenance.workorder": (TECHNICIANS, TECHNICIANS, TECHNICIANS),
    # The log in the table was written by somebody else; tests/maintenance/test_admin.py changes an own one.
    "maintenance.maintenancelog": (TECHNICIANS, TECHNICIANS, NOBODY),
    "maintenance.plan": (TECHNICIANS, NOBODY, NOBODY),
    "maintenance.part": (TECHNICIANS, NOBODY, NOBODY),
    "maintenance.partuse": (TECHNICIANS, NOBODY, NOBODY),
    "maintenance.verdict": (TECHNICIANS, NOBODY, NOBODY),
    "maintenance.report": (TECHNICIANS, NOBODY, NOBODY),
    "maintenance.reportschedule": (TECHNICIANS, NOBODY, NOBODY),
    "mlops.anomaly": (TECHNICIANS, NOBODY, NOBODY),
    "mlops.repaircheck": (TECHNICIANS, NOBODY, NOBODY),
    "mlops.baseline": (TECHNICIANS, NOBODY, NOBODY),
    "mlops.unscoredstretch": (ENGINEERS, NOBODY, NOBODY),
    "mlops.validationpolicy": (ENGINEERS, ENGINEERS, ENGINEERS),
    "mlops.modelversion": (TECHNICIANS, NOBODY, NOBODY),
    "mlops.trainingrun": (ENGINEERS, NOBODY, NOBODY),
    "mlops.deployment": (ENGINEERS, NOBODY, NOBODY),
    "auth.user": (ADMINS, ADMINS, ADMINS),
    "auth.group": (ADMINS, NOBODY, NOBODY),
    "django_celery_beat.periodictask": (ADMINS, NOBODY, ADMINS),
    # For superusers: addresses and second factors of people who locked themselves out.
    "account.emailaddress": (NOBODY, NOBODY, NOBODY),
    "mfa.authenticator": (NOBODY, NOBODY, NOBODY),
}


def _admin_rows(model: str) -> list[Row]:
    viewers, adders, changers = ADMIN_MODELS[model]
    app, _, name = model.partition(".")
    prefix = f"admin:{app}_{name}"
    return [
        Row("GET", f"{prefix}_changelist", viewers),
        Row("GET", f"{prefix}_add", adders),
        Row("GET", f"{prefix}_change", viewers, of=name),
        Row("POST", f"{prefix}_change", changers, of=name, answers=FORM),
        Row("GET", f"{prefix}_history", viewers, of=name),
        Row("GET", f"{prefix}_delete", NOBODY, of=name),
        Row("POST", f"{prefix}_delete", NOBODY, of=name, send=lambda _: {"post": "yes"}),
        # Only leads on to the page to change it.
        Row(
            "GET",
            f"admin/{app}/{name}/<path:object_id>/",
            TECHNICIANS,
            of=name,
            answers=302,
            elsewhere=302,
            path=f"/admin/{app}/{name}/{{pk}}/",
        ),
    ]


# Opening the address of an action only leads on to the page of its object, which says who may see it.
WEB += [
    Row("GET", url, EVERYBODY, of=kind, answers=302, elsewhere=302)
    for kind, urls in {
        "import": ("sensors:import-start", "sensors:import-cancel"),
        "asset": ("sensors:add-document",),
        "quarantined": ("sensors:discard-quarantined",),
        "channel": ("alerts:test-channel", "alerts:redrive-channel"),
        "delivery": ("alerts:redrive",),
        "rule": ("alerts:switch-rule", "alerts:delete-rule"),
        "alert": (
            *(f"alerts:{step}" for step in ("acknowledge", "snooze", "assign", "comment", "resolve")),
            "maintenance:open-for-alert",
        ),
        "schedule": ("alerts:change-schedule", "alerts:add-rotation", "alerts:add-override"),
        "work_order": tuple(
            f"maintenance:{step}"
            for step in (
                *("approve", "schedule", "start", "hold", "finish", "reopen"),
                *("log", "comment", "close", "cancel", "take-part"),
                *("log", "attach", "comment", "close", "cancel"),
            )
        ),
        "plan": ("maintenance:switch-plan",),
        "part": ("maintenance:deliver-part", "maintenance:count-part"),
    }.items()
    for url in urls
]

ROWS = [*WEB, *API, *ACCOUNTS, *ADMIN, *(row for model in ADMIN_MODELS for row in _admin_rows(model))]

"""What may be asked, checked as far as the web process can: the shape of the body, and which model is meant."""

import re
import secrets
from datetime import datetime
from typing import Any, Literal

import msgspec
from django.db.models import Exists, OuterRef, Q

from mlops import deployments
from mlops.models import Deployment, ModelVersion, Purpose
from sensors.errors import Refused
from sensors.models import Asset, Sensor
from sensors.querysets import Viewer

MOST_ROWS = 1_000
# What is explained row by row costs milliseconds each.
MOST_EXPLAINED = 100
MOST_NEWEST = 1_000
NEWEST = 10
MAX_BODY_BYTES = 4 * 1024**2
_NAMED = re.compile(r"(?P<name>.+?)(?:@(?P<alias>[^@:]+)|:(?P<version>\d{1,9}))?", re.DOTALL)
_FIELD = re.compile(r" - at `\$\.?(?P<field>.*)`$")
LARGEST_ID = 2**63 - 1

Row = dict[str, float | str | None]
Kind = Literal["version", "sensor", "asset", "scores", "alias"]


class Asked(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a request; exactly one of `model`, `sensor` and `asset` is given."""

    model: str | None = None
    sensor: int | str | None = None
    asset: int | None = None
    rows: list[Row] | None = None
    newest: int | None = None
    explain: bool = False


class Question(msgspec.Struct, omit_defaults=True):
    """What the pool is asked. `until` (epoch seconds) is when nobody waits for the answer any more.

    `version`: answer by this one. `sensor`: by what serves it, `deployment` if there is one, with `rows` or the
    `newest` stored readings. `asset`: by the model that serves it, for the newest rows that its stored readings give.
    `scores`: of a sensor's stored readings from `first` to `last` (microseconds UTC). `alias`: which version of the
    model called `name` it means.
    """

    kind: Kind
    id: str = msgspec.field(default_factory=lambda: secrets.token_hex(16))
    until: float = 0.0
    version: int = 0
    deployment: int = 0
    sensor: int = 0
    asset: int = 0
    rows: list[Row] | None = None
    newest: int = NEWEST
    explain: bool = False
    first: int = 0
    last: int = 0
    name: str = ""
    alias: str = ""


def asked(body: bytes) -> Asked:
    """Raises Refused (400, 413)."""
    if len(body) > MAX_BODY_BYTES:
        raise Refused("body_too_large", f"A question may have {MAX_BODY_BYTES // 1024**2} MiB; ask in parts.", 413)
    try:
        found = msgspec.json.decode(body, type=Asked)
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused("malformed_json", f"The body is no JSON: {error}"[:300], 400) from error
    _check(found)
    return found


def _invalid(said: str) -> Refused:
    at = _FIELD.search(said)
    field = re.sub(r"\[(.*?)\]", r".\1", at["field"]).strip(".") if at else ""
    return invalid(field, said[: at.start()] if at else said)


def invalid(field: str, detail: str) -> Refused:
    error = {"field": field, "code": "invalid", "detail": detail}
    return Refused("invalid", "Some values are missing or wrong; see errors.", 400, [error])


def _check(found: Asked) -> None:
    if sum(about is not None for about in (found.model, found.sensor, found.asset)) != 1:
        raise invalid("", "Name a model, a sensor or an asset, and only one of them.")
    if found.rows is None and found.model is not None:
        raise invalid("rows", "Give the rows to answer for; only sensors and assets have readings of their own.")
    if found.rows is not None and found.newest is not None:
        raise invalid("newest", "Give rows, or ask for the newest stored readings, not both.")
    if found.rows is not None and not found.rows:
        raise invalid("rows", "Give one row at least.")
    count = len(found.rows) if found.rows is not None else NEWEST if found.newest is None else found.newest
    if count < 1:
        raise invalid("newest", f"Ask for 1 to {MOST_NEWEST} readings.")
    most = MOST_EXPLAINED if found.explain else MOST_ROWS
    if count > most:
        with_explanation = " with explanations" if found.explain else ""
        raise Refused("too_many_rows", f"One request may ask for {most} rows{with_explanation}; send parts.", 413)


def meant(found: Asked, user: Viewer, site: int | None = None) -> Question:
    """The question, about what the user sees and (if given) at this site only. Raises Refused (404, 409)."""
    if found.model is not None:
        question = _of_model(found.model, user)
    elif found.sensor is not None:
        question = of_sensor("sensor", _sensor(found.sensor, user, site).pk)
    else:
        question = _of_asset(found.asset or 0, user, "asset" if found.rows is None else "version")
    question.rows, question.explain = found.rows, found.explain
    question.newest = NEWEST if found.newest is None else found.newest
    return question


def of_sensor(kind: Kind, sensor: int) -> Question:
    """A question about a sensor, by what serves it."""
    deployment = deployments.serving_sensors([sensor]).get(sensor)
    if deployment is None:
        return Question(kind, sensor=sensor)
    return Question(kind, sensor=sensor, deployment=deployment.pk, version=deployment.version_id)


def of_scores(sensor: int, first: datetime, last: datetime) -> Question:
    question = of_sensor("scores", sensor)
    question.first, question.last = (round(at.timestamp() * 1e6) for at in (first, last))
    return question


def _of_model(reference: str, user: Viewer) -> Question:
    named = _NAMED.fullmatch(reference)
    if named is None or "\0" in reference:
        raise _unknown("model", reference)
    rows = ModelVersion.objects.visible_to(user).filter(name=named["name"])
    if named["alias"]:
        if not rows.exists():
            raise _unknown("model", reference)
        return Question("alias", name=named["name"], alias=named["alias"])
    if named["version"]:
        rows = rows.filter(version=int(named["version"]))
    in_service = Deployment.objects.in_service().filter(version=OuterRef("pk"))
    # Without a version: the newest of those that serve something, or else the newest.
    version = rows.order_by(Exists(in_service).desc(), "-version").values_list("pk", flat=True).first()
    if version is None:
        raise _unknown("model", reference)
    return Question("version", version=version)


def by_alias(version: int | None, reference: str, user: Viewer) -> Question:
    """The question about the version that an alias means. Raises Refused (404)."""
    if version is None or not ModelVersion.objects.visible_to(user).filter(pk=version).exists():
        raise _unknown("model", reference)
    return Question("version", version=version)


def _sensor(reference: int | str, user: Viewer, site: int | None) -> Sensor:
    rows = Sensor.objects.visible_to(user)
    if isinstance(reference, int):
        rows = rows.filter(pk=reference) if 0 < reference <= LARGEST_ID else rows.none()
    else:
        rows = rows.filter(Q(sensor_id=reference.replace("\0", "\ufffd")), *([Q(site=site)] if site else []))
    found: list[Sensor] = list(rows[:2])
    if len(found) > 1:
        raise Refused("ambiguous_sensor", "Several sites have a sensor with this key; name it by its id.", 409)
    if not found:
        raise _unknown("sensor", reference)
    return found[0]


def _of_asset(pk: int, user: Viewer, kind: Kind) -> Question:
    """By the model of failures that serves the asset, or else that of its anomalies."""
    asset = Asset.objects.visible_to(user).filter(pk=pk).first() if 0 < pk <= LARGEST_ID else None
    if asset is None:
        raise _unknown("asset", pk)
    for purpose in (Purpose.FAILURE, Purpose.ASSET_ANOMALY):
        if serving := deployments.serving_assets([asset], purpose).get(asset.pk):
            return Question(kind, version=serving.version_id, deployment=serving.pk, asset=asset.pk)
    raise Refused("no_model", f"No model serves {asset}; ask about its sensors.", 404)


def _unknown(what: str, reference: Any) -> Refused:
    detail = f"There is no {what} {str(reference)[:100]!r}, or it belongs to a site you are no member of."
    return Refused(f"unknown_{what}", detail, 404)

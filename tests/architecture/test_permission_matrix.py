"""Every URL of the installation x every role x own and other site, against the table in `permissions`."""

from collections.abc import Iterator
from dataclasses import dataclass
from http.cookies import SimpleCookie
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.http import HttpResponseBase
from django.test import Client
from django.urls import URLResolver, get_resolver, reverse
from django.urls.resolvers import URLPattern
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from alerts.models import MessageTemplate
from config.roles import ROLES
from maintenance.models import AssetTemplate, FailureMode
from sensors.models import ApiKey, AssetClass
from tests.architecture.permissions import ROWS, TECHNICIANS, Row, Things
from tests.architecture.things import make_things
from tests.conftest import make_user

pytestmark = pytest.mark.django_db
# Nothing of this site may ever be seen by a member of the other one.
OTHER_SITE = "Atlantis"


@dataclass
class World:
    own: Things
    other: Things
    cookies: dict[str, SimpleCookie]

    def ask(self, row: Row, role: str, plant: Things) -> HttpResponseBase:
        """The answer to one request, undone at once so that every request finds the same world."""
        client = Client(raise_request_exception=False)
        if role in self.cookies:
            client.cookies = SimpleCookie(self.cookies[role].output(header="", sep=";"))
        path = _path(row, plant)
        is_api = path.startswith("/api/")
        options: dict[str, Any] = {"content_type": "application/json"} if is_api and not row.multipart else {}
        if row.method != "GET":
            options["data"] = row.send(plant) if row.send else {}
        with transaction.atomic():
            answer: HttpResponseBase = getattr(client, row.method.lower())(path, **options)
            transaction.set_rollback(True)
        return answer


def _path(row: Row, plant: Things) -> str:
    pk = plant[row.of].pk if row.of else 0
    if row.path:
        return row.path.format(pk=pk)
    return reverse(row.url, args=[pk] if row.of else None, kwargs=row.kwargs or None) + (
        "?" + row.query if row.query else ""
    )


def _things_without_a_site() -> Things:
    user = User.objects.create_user("somebody")
    every_second = IntervalSchedule.objects.create(every=1, period=IntervalSchedule.SECONDS)
    return {
        "user": user,
        "assetclass": AssetClass.objects.get(name="Pump"),
        "failuremode": FailureMode.objects.get(code="VIB", asset_class__name="Pump"),
        "assettemplate": AssetTemplate.objects.get(name="Fan with motor"),
        "group": Group.objects.first(),
        "apikey": ApiKey.issue(user, "test", ["read"])[0],
        "messagetemplate": MessageTemplate.objects.create(kind="limit", version=1, subject="Limit", text="Look."),
        "periodictask": PeriodicTask.objects.create(name="test", task="test", interval=every_second),
        "emailaddress": EmailAddress.objects.create(user=user, email="somebody@example.com"),
        "authenticator": Authenticator.objects.create(user=user, type="totp", data={}),
    }


@pytest.fixture(scope="module")
def world(django_db_setup: None, django_db_blocker: pytest.FixtureDef[Any]) -> Iterator[World]:
    """Made once; each request leaves it as it was."""
    with django_db_blocker.unblock(), transaction.atomic():  # type: ignore[attr-defined]
        own, other, shared = make_things("North"), make_things(OTHER_SITE), _things_without_a_site()
        cookies = {}
        for role in ROLES:
            client = Client()
            client.force_login(make_user(role, own["site"]))
            cookies[role] = client.cookies
        yield World(own | shared, other | shared, cookies)
        transaction.set_rollback(True)


def _urls(resolver: URLResolver, route: str = "", namespaces: tuple[str, ...] = ()) -> Iterator[str]:
    for pattern in resolver.url_patterns:
        here = route + str(pattern.pattern)
        if isinstance(pattern, URLPattern):
            yield ":".join((*namespaces, pattern.name)) if pattern.name else here
        else:
            yield from _urls(pattern, here, (*namespaces, *([pattern.namespace] if pattern.namespace else [])))


def test_every_url_has_a_row_and_every_row_a_url() -> None:
    urls, rows = set(_urls(get_resolver())), {row.url for row in ROWS}
    assert urls - rows == set(), "URLs without a row in tests/architecture/permissions.py"
    assert rows - urls == set(), "rows for URLs that do not exist"


def _expected(row: Row, role: str, *, own: bool) -> frozenset[int]:
    """The statuses that are right for this role."""
    answers = frozenset({row.answers} if isinstance(row.answers, int) else row.answers)
    if row.roles is None:
        return answers
    if role == "anonymous":
        return frozenset({401 if row.url.startswith("api") or row.url in ("schema", "line-protocol") else 302})
    if role in row.roles:
        return answers if own or role == "admin" else frozenset({row.elsewhere})
    if row.url.startswith("admin") and row.url != "admin:login" and role not in TECHNICIANS:
        return frozenset({302})  # To the login of the admin, which says 403 to who is logged in.
    # An object that one may not see at all may as well not exist.
    return frozenset({403, 404} if row.of else {403})


def _plants(world: World, row: Row) -> list[Things]:
    """The sites to try the row with: one where it makes no difference."""
    differs = row.send is not None or (row.of and world.own[row.of] != world.other[row.of])
    return [world.own, world.other] if differs else [world.own]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_each_role_gets_what_the_table_says(world: World, row: Row) -> None:
    wrong = []
    for role in ("anonymous", *ROLES):
        for plant in _plants(world, row):
            own = plant is world.own
            answer = world.ask(row, role, plant)
            if answer.status_code not in _expected(row, role, own=own):
                wrong.append((role, "own" if own else "other", answer.status_code))
            if role != "admin" and own and _mentions_the_other_site(answer):
                wrong.append((role, "sees something of the other site", answer.status_code))
    assert not wrong


def _mentions_the_other_site(answer: HttpResponseBase) -> bool:
    return not answer.streaming and OTHER_SITE.lower() in answer.content.decode(errors="replace").lower()  # type: ignore[attr-defined]


OWN_VIEWS = [row for row in ROWS if row.url.split(":")[0] in ("api", "sensors", "alerts", "maintenance", "mlops")]


@pytest.mark.parametrize("row", {row.url: row for row in OWN_VIEWS}.values(), ids=lambda row: row.url)
def test_methods_without_a_row_are_refused(world: World, row: Row) -> None:
    listed = {other.method for other in ROWS if other.url == row.url}
    for method in sorted({"GET", "POST", "PUT", "PATCH", "DELETE"} - listed):
        tried = Row(method, row.url, row.roles, of=row.of, kwargs=row.kwargs)
        assert world.ask(tried, "admin", world.own).status_code in (403, 405), method

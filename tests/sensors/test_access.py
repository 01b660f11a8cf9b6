import json
import time
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client

from sensors import access
from sensors.access import CACHE_SECONDS, CACHED_KEYS, authenticate_key, users_within_rights_of
from sensors.models import ApiKey
from tests.conftest import Plant


def issue(user: User, *scopes: str) -> str:
    return ApiKey.issue(user, "test", list(scopes))[1]


def get(key: str, path: str = "/api/v1/assets/") -> tuple[int, str]:
    answer = Client().get(path, headers={"X-API-Key": key})
    return answer.status_code, answer.json().get("code", "")


def test_a_key_acts_for_its_user(north: Plant, people: dict[str, User]) -> None:
    key = issue(people["integration"], "read")
    assert get(key) == (200, "")
    principal = authenticate_key(key)
    assert principal is not None
    assert (principal.user, principal.scopes) == (people["integration"], {"read"})


def test_only_a_digest_of_the_key_is_stored(people: dict[str, User]) -> None:
    key = issue(people["integration"], "read")
    row = ApiKey.objects.get()
    assert key not in (row.digest, row.prefix, str(row))
    assert row.digest == ApiKey.digest_of(key)


@pytest.mark.parametrize("key", ["", "nonsense", "sm_" + "x" * 43, "ключ", "x" * 5000])
def test_an_unknown_key_is_401_even_for_a_logged_in_caller(people: dict[str, User], key: str) -> None:
    client = Client()
    client.force_login(people["admin"])
    answer = client.get("/api/v1/assets/", headers={"X-API-Key": key})
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_api_key")


def test_without_credentials_the_answer_is_401_and_names_the_way_in(db: None) -> None:
    answer = Client().get("/api/v1/assets/")
    assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")
    assert answer.headers["WWW-Authenticate"] == "X-API-Key"


@pytest.mark.parametrize("end", ["revoke", "deactivate"])
def test_a_key_stops_working_within_seconds(people: dict[str, User], end: str) -> None:
    user = people["integration"]
    key = issue(user, "read")
    assert get(key) == (200, "")
    if end == "revoke":
        ApiKey.objects.update(revoked_at="2026-01-01T00:00Z")
    else:
        User.objects.filter(pk=user.pk).update(is_active=False)
    deadline = time.monotonic() + CACHE_SECONDS + 0.5
    while get(key)[0] == 200 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert get(key) == (401, "invalid_api_key")


def test_a_key_in_use_costs_no_queries(people: dict[str, User], django_assert_max_num_queries: object) -> None:
    key = issue(people["integration"], "read")
    authenticate_key(key)
    with django_assert_max_num_queries(1):  # type: ignore[operator]
        # One at most: the period may end in between.
        for _ in range(100):
            assert authenticate_key(key)


def test_a_flood_of_invented_keys_occupies_bounded_memory(db: None) -> None:
    for number in range(CACHED_KEYS + 100):
        assert authenticate_key(f"sm_{number}") is None
    assert len(access._principals) == CACHED_KEYS


@pytest.mark.parametrize(
    ("scopes", "method", "path", "status"),
    [
        (["read"], "get", "/api/v1/assets/", 200),
        (["ingest", "write"], "get", "/api/v1/assets/", 403),
        (["read", "write"], "post", "/api/v1/readings/", 403),
        (["ingest"], "post", "/api/v1/readings/", 422),
        (["read", "ingest"], "post", "/api/v1/work-orders/1/start/", 403),
        (["write"], "post", "/api/v1/work-orders/1/start/", 404),
        ([], "get", "/api/v1/assets/", 403),
    ],
)
def test_a_key_does_only_what_its_scopes_allow(
    people: dict[str, User], scopes: list[str], method: str, path: str, status: int
) -> None:
    headers = {"X-API-Key": issue(people["admin"], *scopes)}
    answer = getattr(Client(), method)(
        path, headers=headers, **({"content_type": "application/json"} if method == "post" else {})
    )
    assert answer.status_code == status
    if status == 403:
        assert answer.json()["code"] == "scope_missing"


def test_a_scope_gives_no_permission_that_the_user_lacks(north: Plant, people: dict[str, User]) -> None:
    headers = {"X-API-Key": issue(people["viewer"], "ingest", "read", "write")}
    answer = Client().post("/api/v1/readings/", b"[]", content_type="application/json", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")


def test_sessions_need_a_csrf_token_and_keys_do_not(people: dict[str, User]) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(people["operator"])
    path, body = "/api/v1/readings/", {"data": b"[]", "content_type": "application/json"}
    assert client.post(path, **body).status_code == 403
    key = issue(people["operator"], "ingest")
    assert client.post(path, **body, headers={"X-API-Key": key}).status_code == 200


def test_rights_are_compared_whether_or_not_the_other_is_active(people: dict[str, User]) -> None:
    boss = User.objects.create_superuser("boss")
    User.objects.create_superuser("former-boss", is_active=False)
    assert set(users_within_rights_of(boss)) == set(User.objects.all())
    assert set(users_within_rights_of(people["admin"])) == set(people.values())
    assert set(users_within_rights_of(people["operator"])) == {
        people["viewer"],
        people["operator"],
        people["integration"],
    }


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("create_api_key", *arguments, stdout=out)
    return out.getvalue().strip()


def test_the_command_prints_a_key_that_works(people: dict[str, User]) -> None:
    assert get(run("--user", people["integration"].username)) == (200, "")


def test_the_command_can_make_the_user_and_answer_in_json(north: Plant) -> None:
    answer = json.loads(run("--user", "gateway", "--create", "--site", "North", "--scopes", "read", "--json"))
    assert answer["scopes"] == ["read"]
    user = User.objects.get(username="gateway")
    assert not user.has_usable_password()
    assert list(user.groups.values_list("name", flat=True)) == ["integration"]
    listed = Client().get("/api/v1/sites/", headers={"X-API-Key": answer["key"]}).json()["results"]
    assert [site["name"] for site in listed] == ["North"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--user", "nobody"], "There is no user 'nobody'. Add --create"),
        (["--user", "gone"], "User 'gone' is not active"),
        (["--user", "nobody", "--create", "--site", "Nowhere"], "There is no site 'Nowhere'. Sites: North."),
        (["--user", "nobody", "--create", "--scopes", "read,fly"], "Unknown scopes: fly. Use ingest, read, write."),
        (["--user", "nobody", "--create", "--scopes", ","], "Unknown scopes: none given."),
    ],
)
def test_the_command_says_what_is_wrong_and_leaves_nothing_behind(
    north: Plant, arguments: list[str], sentence: str
) -> None:
    User.objects.create_user("gone", is_active=False)
    with pytest.raises(CommandError, match=sentence.replace(".", r"\.")):
        run(*arguments)
    assert not ApiKey.objects.exists()
    assert not User.objects.filter(username="nobody").exists()

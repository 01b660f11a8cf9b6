import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from sensors import limits
from sensors.access import Sender
from sensors.columns import Columns
from sensors.doors import intake
from sensors.doors.intake import Delivery, database_in_reach, receive
from sensors.errors import Refused
from sensors.formats import json
from sensors.models import ApiKey, IdempotentRequest, Reading
from tests.conftest import Plant, make_user

NOON = "2026-03-01T12:00:00Z"


@pytest.fixture(autouse=True)
def fresh_breaker() -> Iterator[None]:
    intake.breaker.close()
    limits.keys._buckets.clear()
    yield
    intake.breaker.close()


@pytest.fixture
def sender(client: Client, people: dict[str, User]) -> Client:
    _, key = ApiKey.issue(people["integration"], "test", ["ingest"])
    client.defaults["HTTP_X_API_KEY"] = key
    return client


def send(client: Client, rows: Any, key: str | None = None, query: str = "") -> HttpResponse:
    headers = {"Idempotency-Key": key} if key is not None else {}
    answer: HttpResponse = client.post(
        f"/api/v1/readings/{query}", rows, content_type="application/json", headers=headers
    )
    return answer


def row(plant: Plant, value: float = 20.5) -> dict[str, Any]:
    return {"sensor_id": plant.temperature.sensor_id, "timestamp": NOON, "value": value}


def test_a_repeat_gets_the_first_answer_and_says_so(sender: Client, north: Plant) -> None:
    first, again = (send(sender, [row(north)], "k1") for _ in range(2))
    assert (first.status_code, first.json()["accepted"]) == (201, 1)
    assert (again.status_code, again.json()) == (201, first.json())
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"


def test_a_refusal_is_repeated_too(sender: Client, north: Plant) -> None:
    first, again = (send(sender, [{**row(north), "unit": "furlong"}], "k1") for _ in range(2))
    assert (first.status_code, again.status_code) == (422, 422)
    assert first.json()["errors"] == again.json()["errors"]
    assert again.headers["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize(("value", "query"), [(21.5, ""), (20.5, "?on_conflict=keep")])
def test_the_same_key_for_another_request_is_refused(sender: Client, north: Plant, value: float, query: str) -> None:
    send(sender, [row(north)], "k1")
    answer = send(sender, [row(north, value)], "k1", query)
    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_key_reused")


def test_after_a_day_a_key_is_new_again(sender: Client, north: Plant) -> None:
    send(sender, [row(north)], "k1")
    IdempotentRequest.objects.update(created_at=timezone.now() - timedelta(hours=25))
    answer = send(sender, [row(north)], "k1")
    assert (answer.status_code, answer.json()["duplicates"]) == (200, 1)


def test_keys_of_different_users_have_nothing_to_do_with_each_other(sender: Client, north: Plant) -> None:
    send(sender, [row(north)], "k1")
    _, other = ApiKey.issue(make_user("integration", north.site), "other", ["ingest"])
    sender.defaults["HTTP_X_API_KEY"] = other
    assert send(sender, [row(north, 99)], "k1").json()["duplicates"] == 1


def test_two_gateways_of_one_user_may_use_the_same_keys(sender: Client, north: Plant) -> None:
    send(sender, [row(north)], "1")
    _, other = ApiKey.issue(ApiKey.objects.get().user, "other", ["ingest"])
    sender.defaults["HTTP_X_API_KEY"] = other
    answer = send(sender, [row(north)], "1")
    assert (answer.json()["duplicates"], "Idempotent-Replayed" in answer.headers) == (1, False)


def test_an_answer_names_a_thousand_refused_rows_and_counts_the_others(sender: Client, north: Plant) -> None:
    bad = [{**row(north), "unit": "furlong", "value": number} for number in range(1002)]
    stored = send(sender, [row(north), *bad]).json()
    assert (len(stored["rejected"]), stored["rejected_beyond_these"]) == (1000, 2)


def test_the_rate_of_a_key_holds_for_reading_too(client: Client, people: dict[str, User]) -> None:
    _, key = ApiKey.issue(people["integration"], "reader", ["read"], requests_per_second=2)
    answers = [client.get("/api/v1/sites/", headers={"X-API-Key": key}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]


@pytest.mark.parametrize("key", ["", "x" * 256, "line\x7f", "ümlaut"])
def test_a_key_that_cannot_be_kept_is_refused(sender: Client, north: Plant, key: str) -> None:
    answer = send(sender, [row(north)], key)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_idempotency_key")


def test_a_request_that_failed_may_be_repeated(sender: Client, north: Plant) -> None:
    assert send(sender, "[{]", "k1").status_code == 400
    assert send(sender, [row(north)], "k1").status_code == 201


@pytest.mark.django_db(transaction=True)
def test_of_many_repeats_at_once_one_is_stored_and_all_get_its_answer() -> None:
    from tests.conftest import make_plant

    plant = make_plant("Rush")
    user = make_user("integration", plant.site)
    answers: list[tuple[int, dict[str, Any], bool]] = []

    def deliver() -> None:
        def parse() -> Columns:
            return json.parse(
                f'[{{"sensor_id":"{plant.temperature.sensor_id}","timestamp":"{NOON}","value":1}}]'.encode()
            )

        answer = receive(Delivery(Sender(user=user), "api", parse, b"same", "", "k1"))
        answers.append((answer.status, answer.stored, answer.replayed))
        connection.close()

    threads = [threading.Thread(target=deliver) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(stored == answers[0][1] for _, stored, _ in answers)
    assert [status for status, *_ in answers] == [201] * 6
    assert sorted(replayed for *_, replayed in answers) == [False] + [True] * 5
    assert Reading.objects.count() == 1


def test_a_key_that_sends_too_often_is_told_when_to_come_back(sender: Client, north: Plant) -> None:
    ApiKey.objects.update(requests_per_second=2)
    answers = [send(sender, [row(north), row(north, 21)]) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201, 200, 429]
    assert answers[2].json()["code"] == "too_many_requests"
    assert answers[2].headers["Retry-After"] == "1"


def test_a_database_in_trouble_is_left_in_peace_for_a_while(db: None) -> None:
    asked = 0

    def ask() -> None:
        nonlocal asked
        with database_in_reach():
            asked += 1
            raise OperationalError("gone")

    for _ in range(intake.BREAKER_FAILURES + 3):
        with pytest.raises(Refused, match="send the request again") as refused:
            ask()
        assert (refused.value.status, refused.value.code) == (503, "database_busy")
        assert refused.value.headers == {"Retry-After": str(intake.BREAKER_SECONDS)}
    assert asked == intake.BREAKER_FAILURES


def test_what_the_sender_did_wrong_says_nothing_about_the_database(db: None) -> None:
    for _ in range(intake.BREAKER_FAILURES + 1):
        with pytest.raises(Refused, match="nonsense"):
            with database_in_reach():
                raise Refused("bad", "nonsense", 400)
    with database_in_reach():
        pass


@pytest.mark.parametrize(("role", "status"), [("engineer", 201), ("integration", 403), ("operator", 403)])
def test_only_engineers_replace_stored_values(
    client: Client, people: dict[str, User], north: Plant, role: str, status: int
) -> None:
    client.force_login(people[role])
    send(client, [row(north)])
    answer = send(client, [row(north, 99)], query="?on_conflict=replace")
    assert answer.status_code == status
    assert Reading.objects.get().value == (99 if status == 201 else 20.5)


def test_an_unknown_way_to_treat_conflicts_is_refused(sender: Client, north: Plant) -> None:
    answer = send(sender, [row(north)], query="?on_conflict=average")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_on_conflict")

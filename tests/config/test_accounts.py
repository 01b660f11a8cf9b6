import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from tests.conftest import Plant, make_user


@pytest.mark.parametrize("name", ["account_login", "account_reset_password", "account_signup"])
def test_the_entrance_is_open_and_in_our_look(client: Client, db: None, name: str) -> None:
    answer = client.get(reverse(name))
    assert answer.status_code == 200
    assert "css/app.css" in answer.content.decode()


def test_nobody_signs_up_by_themselves(client: Client, db: None) -> None:
    sent = {
        "username": "eve",
        "email": "eve@example.com",
        "password1": "a long pass phrase",
        "password2": "a long pass phrase",
    }
    answer = client.post(reverse("account_signup"), sent)
    assert "No sign-up here" in answer.content.decode()
    assert not User.objects.filter(username="eve").exists()


def test_logging_in_leads_to_the_overview_and_out_again(client: Client, people: dict[str, User]) -> None:
    sent = {"login": people["viewer"].username, "password": "a long pass phrase"}
    assert client.post(reverse("account_login"), sent).headers["Location"] == reverse("sensors:overview")
    assert client.get(reverse("sensors:overview")).status_code == 200
    client.post(reverse("account_logout"))
    assert client.get(reverse("sensors:overview")).status_code == 302


def test_a_wrong_password_is_explained(client: Client, people: dict[str, User]) -> None:
    answer = client.post(reverse("account_login"), {"login": people["viewer"].username, "password": "wrong"})
    assert "errorlist" in answer.content.decode()


@pytest.mark.parametrize("name", ["account_email", "account_change_password", "mfa_index", "account_logout"])
def test_the_pages_of_ones_own_account_render(client: Client, people: dict[str, User], name: str) -> None:
    client.force_login(people["viewer"])
    assert client.get(reverse(name)).status_code == 200


@pytest.mark.django_db
def test_a_borrowed_session_cannot_add_an_address_without_the_password(client: Client, north: Plant) -> None:
    client.login(username=make_user("viewer", north.site).username, password="a long pass phrase")
    session = client.session
    session.pop("account_authentication_methods", None)  # The password was given long ago.
    session.save()
    answer = client.post("/accounts/email/", {"action_add": "", "email": "other@example.com"})
    assert "reauthenticate" in answer["Location"]

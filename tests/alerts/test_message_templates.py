"""What messages say, and how admins say it otherwise."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from alerts.delivery import message_templates, messages, sending, template_versions
from alerts.delivery.message_templates import ITEM_VARIABLES, KINDS, VARIABLES, Source
from alerts.models import Channel, MessageTemplate
from tests.alerts.test_delivery import message, raised
from tests.conftest import Plant

ADD = "admin:alerts_messagetemplate_add"


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_has_a_template_that_reads_well(kind: str) -> None:
    source = message_templates.default(kind)
    assert message_templates.problems(source) == []
    read = message_templates.render(source, template_versions.example(kind))
    assert read.subject
    for text in (read.subject, read.text, read.html):
        assert "{" not in text.partition("<style>")[0]
        assert "None" not in text
    assert "\n\n\n" not in read.text


def test_messages_and_examples_have_the_variables_that_are_described(north: Plant) -> None:
    made = message(Channel.objects.create(name="Log", kind="console"), raised(north))
    context = messages.context_of(made, list(made.items.all()), timezone.now())
    assert context.keys() == VARIABLES.keys()
    assert context["alerts"][0].keys() == ITEM_VARIABLES.keys()
    example = template_versions.example("anomaly")
    assert example.keys() == VARIABLES.keys()
    assert example["alerts"][0].keys() == ITEM_VARIABLES.keys()


REFUSED = {
    "{% load i18n %}": "Invalid block tag",
    "{% include 'secret.txt' %}": "Invalid block tag",
    "{% extends 'base.html' %}": "Invalid block tag",
    "{% debug %}": "Invalid block tag",
    "{% now 'Y' %}": "Invalid block tag",
    "{{ title|ljust:1000000000 }}": "Invalid filter",
    "{{ title|safe }}": "Invalid filter",
    "{{ titel }}": "nothing is called titel",
    "{% if person.password %}x{% endif %}": "person has no parts",
    "{{ title.__class__ }}": "Variables and attributes may not begin with underscores",
    "{% for alert in alerts %}{{ alert.pasword }}{% endfor %}": "an alert has no pasword",
    "{% for a in alerts %}{% for b in alerts %}x{% endfor %}{% endfor %}": "a loop inside a loop",
    "{% if count > nix %}x{% endif %}": "nothing is called nix",
    "{{ title|default:nix }}": "nothing is called nix",
    "{% for alert in alerts %}": "Unclosed tag",
    "x" * 20_001: "at most 20,000",
}


@pytest.mark.parametrize(("text", "why"), REFUSED.items(), ids=range(len(REFUSED)))
def test_a_template_that_reaches_beyond_its_values_is_refused(text: str, why: str) -> None:
    (problem,) = message_templates.problems(Source("Subject", text))
    assert problem.startswith("text: ")
    assert why in problem


def test_html_is_escaped_and_a_subject_is_one_line() -> None:
    context = template_versions.example("anomaly") | {"title": "<script>\nalert(1)</script>"}
    read = message_templates.render(Source("{{ title }}", "{{ title }}", "<p>{{ title }}</p>"), context)
    assert read.subject == "<script> alert(1)</script>"
    assert "<script>" not in read.html
    plain = message_templates.render(Source("Subject", "{{ title }}"), context)
    assert "<script>" not in plain.html
    assert "&lt;script&gt;" in plain.html


@pytest.fixture
def admin(client: Client, people: dict[str, User]) -> User:
    client.force_login(people["admin"])
    return people["admin"]


def new(**values: Any) -> dict[str, Any]:
    return {"kind": "anomaly", "subject": "Look: {{ title }}", "text": "{{ reason }}", "html": "", "why": "Shorter"} | (
        values
    )


def act(client: Client, action: str, row: MessageTemplate) -> None:
    page = reverse("admin:alerts_messagetemplate_changelist")
    assert client.post(page, {"action": action, "_selected_action": [row.pk]}).status_code == 302


def subject_of_next(north: Plant, key: str) -> str:
    made = message(Channel.objects.get(kind="console"), raised(north, key))
    sending.deliver_due()
    made.refresh_from_db()
    return made.subject


def test_a_new_version_is_previewed_put_into_use_and_taken_back(client: Client, north: Plant, admin: User) -> None:
    for subject in ("Look: {{ title }}", "See: {{ title }}"):
        assert client.post(reverse(ADD), new(subject=subject)).status_code == 302
    first, second = MessageTemplate.objects.order_by("version")
    assert (first.version, second.version, first.by) == (1, 2, admin)
    page = reverse("admin:alerts_messagetemplate_change", args=[first.pk])
    assert "Look: Vibration of P-101" in client.get(page).content.decode()
    assert subject_of_next(north, "hot") == "[HIGH] Pump is hot · North"
    for action, row, expected in (
        ("use", first, "Look: Pump is a"),
        ("use", second, "See: Pump is b"),
        ("use", first, "Look: Pump is c"),
        ("use_delivered", first, "[HIGH] Pump is d · North"),
    ):
        act(client, action, row)
        assert subject_of_next(north, expected.partition("is ")[2][0]) == expected


def test_a_bad_version_is_refused_with_the_reason(client: Client, admin: User) -> None:
    answer = client.post(reverse(ADD), new(text="{{ titel }}"))
    assert "nothing is called titel" in answer.content.decode()
    assert not MessageTemplate.objects.exists()


def test_the_page_for_a_new_version_begins_from_what_is_in_use_and_says_what_may_be_named(
    client: Client, admin: User
) -> None:
    shown = client.get(reverse(ADD), {"kind": "digest"}).content.decode()
    assert "that could wait" in shown
    for name in (*VARIABLES, *ITEM_VARIABLES):
        assert name in shown


def test_a_version_that_fails_when_a_message_is_made_gives_way_to_the_delivered_one(north: Plant) -> None:
    MessageTemplate.objects.create(kind="anomaly", version=1, subject="{{ nix", text="{% if %}", active=True)
    assert subject_of_next(north, "hot") == "[HIGH] Pump is hot · North"

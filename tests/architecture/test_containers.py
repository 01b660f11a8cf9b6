"""`docker-compose.yml` runs what `make up` runs, and has no password of its own."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings
from django.test import override_settings

from config.supervisor import Program, app_programs, embedded_servers, later_programs
from sensors.embedded import mlflow_url

COMPOSE: dict[str, Any] = yaml.safe_load((settings.BASE_DIR / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
with override_settings(MQTT_URL="mqtt://broker.example.com", MLFLOW_TRACKING_URI=mlflow_url(settings.STATE_DIR)):
    PROGRAMS = [program for program in app_programs() + later_programs() if program.name != "simulator"]


def in_a_container(program: Program) -> list[str]:
    """The program's command line as it reads where every address is the container's own."""
    command = [Path(program.command[0]).name, *program.command[1:]]
    for option, value in (("--host", "0.0.0.0"), ("--port", "8000")):
        if option in command:
            command[command.index(option) + 1] = value
    # On one machine it listens on a socket in STATE_DIR.
    return [*command, "--port", "5000"] if program.name == "mlflow" else command


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_each_program_is_a_service_with_the_same_command(program: Program) -> None:
    assert SERVICES[program.name]["command"] == in_a_container(program)


def test_each_embedded_server_is_a_service_and_nothing_else_runs() -> None:
    servers = {"postgres": "database", "valkey": "broker"}
    assert {program.name for program in embedded_servers(database=True, broker=True)} == set(servers)
    assert set(SERVICES) == {program.name for program in PROGRAMS} | set(servers.values()) | {"migrate"}


def test_every_secret_must_be_given() -> None:
    text = (settings.BASE_DIR / "docker-compose.yml").read_text()
    with_value = [line for line in text.splitlines() if re.search(r"(_KEY|PASSWORD|password)\b.*[:=] *\S", line)]
    values = [line for line in with_value if not line.lstrip().startswith("#") and "_USERNAME" not in line]
    assert len(values) > 5
    assert [line for line in values if not re.search(r"\$\{\w+:\?[^}]+\}", line)] == []


@pytest.mark.parametrize("service", ["database", "broker", "mlflow", "web"])
def test_nothing_is_open_to_the_network_unless_asked_for(service: str) -> None:
    for port in SERVICES[service].get("ports", []):
        assert port.startswith(("127.0.0.1:", "${PUBLISH:-127.0.0.1:"))


@pytest.mark.parametrize("service", ["database", "broker", "mlflow", "web"])
def test_what_others_wait_for_says_when_it_is_ready(service: str) -> None:
    assert SERVICES[service]["healthcheck"]["test"]


def test_every_variable_given_to_the_app_is_one_the_settings_read() -> None:
    documented = re.findall(r"^# ([A-Z_]+)=", (settings.BASE_DIR / ".env.example").read_text(), re.MULTILINE)
    given = COMPOSE["x-app"]["environment"]
    assert set(given) <= set(documented)
    # The image sets its own state directory and port; the web process has a time limit of its own.
    of_one_machine = {"STATE_DIR", "DATA_DIR", "PORT", "DEBUG", "DEMO", "LOG_FORMAT", "STATEMENT_TIMEOUT_SECONDS"}
    assert set(documented) - set(given) == of_one_machine, "A line in .env must have its effect in containers, too."


def test_the_image_runs_a_supported_python_without_root() -> None:
    text = (settings.BASE_DIR / "Dockerfile").read_text()
    pythons = set(re.findall(r"^FROM python:(\d+\.\d+)-slim", text, re.MULTILINE))
    supported = tomllib.loads((settings.BASE_DIR / "pyproject.toml").read_text())["project"]["requires-python"]
    assert pythons == {"3.13"}
    assert supported == ">=3.11,<3.14"
    assert text.rindex("USER app") > text.rindex("COPY")
    assert "--require-hashes" in text

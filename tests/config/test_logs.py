"""Log lines are JSON, and the id of the request that caused a task stands in the task's lines, too."""

import copy
import io
import json
import logging
import logging.config
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from celery import shared_task
from django.conf import settings
from django.test import Client
from django_guid import clear_guid, set_guid

logger = logging.getLogger("tests.config.logs")
QUEUE = "tests.config.logs"


@shared_task(name="tests.config.say")
def say(text: str) -> None:
    logger.warning(text)


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What our console handler writes as JSON."""
    written = io.StringIO()
    # The configurator takes its input apart.
    logging_settings = copy.deepcopy(settings.LOGGING)
    configurator = logging.config.DictConfigurator(logging_settings)  # type: ignore[attr-defined]
    handler = logging.StreamHandler(written)
    handler.setFormatter(configurator.configure_formatter(logging_settings["formatters"]["json"]))
    handler.addFilter(configurator.configure_filter(logging_settings["filters"]["request_id"]))
    logger.addHandler(handler)
    yield written
    logger.removeHandler(handler)


def parsed(lines: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines.getvalue().splitlines()]


def test_a_line_is_one_json_object_with_its_request(lines: io.StringIO) -> None:
    request_id = uuid4().hex
    set_guid(request_id)
    try:
        logger.warning('odd "text"\nwith a line break', extra={"sensor": 7})
    finally:
        clear_guid()
    (line,) = parsed(lines)
    assert line["request_id"] == request_id
    assert line["message"] == 'odd "text"\nwith a line break'
    assert (line["level"], line["logger"], line["sensor"]) == ("WARNING", logger.name, 7)


def test_the_request_id_travels_into_the_task() -> None:
    request_id = uuid4().hex
    set_guid(request_id)
    try:
        say.apply_async(["done"], queue=QUEUE)
    finally:
        clear_guid()
    # A worker in this process would close the connections that other tests work with.
    command = [sys.executable, "-m", "celery", "--app", "config", "--quiet", "worker", "--pool=solo", "--queues", QUEUE]
    options = ["--include", __name__, "--without-gossip", "--without-mingle", "--without-heartbeat"]
    environment = os.environ | {"LOG_FORMAT": "json", "LOG_LEVEL": "INFO"}
    with subprocess.Popen([*command, *options], env=environment, stderr=subprocess.PIPE, text=True) as worker:
        assert worker.stderr
        try:
            line = next(line for line in worker.stderr if '"done"' in line)
        finally:
            worker.terminate()
    said = json.loads(line)
    assert (said["message"], said["logger"], said["request_id"]) == ("done", logger.name, request_id)


@pytest.mark.django_db
def test_the_answer_names_its_request(client: Client) -> None:
    request_id = uuid4().hex
    assert client.get("/health", headers={"X-Request-ID": request_id})["X-Request-ID"] == request_id
    assert client.get("/health", headers={"X-Request-ID": "<script>"})["X-Request-ID"] != "<script>"

"""The web process's way to the pool: a question is put into Valkey, and its answer waited for."""

import logging
import time
from typing import Any

import msgspec
import redis
from django.conf import settings
from django.db import connection

from mlops.prediction import questions
from mlops.prediction.questions import Asked, Question
from sensors import valkey
from sensors.doors.intake import database_in_reach
from sensors.errors import Refused
from sensors.querysets import Viewer

logger = logging.getLogger(__name__)

QUESTIONS = "sm:predict:questions"
ALIVE = "sm:predict:alive"
# A pool says so often that it listens; three missed times and nobody does.
ALIVE_EVERY_SECONDS, ALIVE_SECONDS = 1.0, 3
# Answers that nobody has fetched are forgotten.
ANSWER_SECONDS = 30
# More wait than a pool of two can answer in time.
MOST_WAITING = 200
# A version that has ended so many processes within FAILING_SECONDS is not asked for as long: two hanging questions
# occupy a pool of two, and those who wait behind them must get their answers before they give up.
MOST_FAILURES = 2
FAILING_SECONDS = 60

# Which version a name means to a user is looked up once in so many seconds and process: a model answers in less time
# than the database. Keys of programs are remembered as long (sensors.access).
RECENT_SECONDS = 2.0
REMEMBERED = 1024
_recent: dict[tuple[int | None, str | None], tuple[float, int]] = {}

PUT = """
    if redis.call('EXISTS', KEYS[1]) == 0 then return 'predict_unavailable' end
    if tonumber(redis.call('GET', KEYS[2]) or 0) >= tonumber(ARGV[2]) then return 'model_failing' end
    if redis.call('LLEN', KEYS[3]) >= tonumber(ARGV[3]) then return 'predict_busy' end
    redis.call('RPUSH', KEYS[3], ARGV[1])
"""
# By code: what it means, and when to try again.
REFUSALS = {
    "predict_unavailable": ("No process answers for models just now; ask again.", 5),
    "model_failing": ("It has just hung or crashed several times and is left alone for a minute.", FAILING_SECONDS),
    "predict_busy": ("Too many questions wait already; ask again.", 2),
}


def is_answered() -> bool:
    """Whether a pool listens."""
    try:
        return bool(valkey.client().exists(ALIVE))
    except redis.RedisError:
        return False


def predict(body: bytes, user: Viewer, site: int | None = None) -> bytes:
    """The answer to a request as JSON. Raises Refused for everything else."""
    found = questions.asked(body)
    known = _recent.get((user.pk, found.model))
    if known and time.monotonic() < known[0]:
        return ask(Question("version", version=known[1], rows=found.rows, explain=found.explain))
    with database_in_reach():
        question = questions.meant(found, user, site)
    question = _without_alias(found, question, user)
    if found.model is not None:
        if len(_recent) >= REMEMBERED:
            _recent.clear()
        _recent[user.pk, found.model] = time.monotonic() + RECENT_SECONDS, question.version
    return ask(question)


def _without_alias(found: Asked, question: Question, user: Viewer) -> Question:
    """Only the registry knows what an alias means; whether the user may see that is for us to say."""
    if question.kind != "alias":
        return question
    version = msgspec.json.decode(ask(question))["version"]
    with database_in_reach():
        meant = questions.by_alias(version, found.model or "", user)
    meant.rows, meant.explain = question.rows, question.explain
    return meant


def ask(question: Question) -> bytes:
    """The pool's answer as JSON. Raises Refused: what the pool says, or 503 and 504 when it says nothing."""
    question.until = time.time() + settings.PREDICT_TIMEOUT_SECONDS
    if not connection.in_atomic_block:
        # Others need it while this waits.
        connection.close()
    try:
        _put(question)
        answer: Any = _client().blpop([answer_key(question.id)], timeout=settings.PREDICT_TIMEOUT_SECONDS)
    except redis.RedisError as error:
        logger.warning("models cannot be asked: %s", error)
        raise refusal("predict_unavailable") from error
    if answer is None:
        detail = f"The model did not answer within {settings.PREDICT_TIMEOUT_SECONDS} s; ask again, or for fewer rows."
        raise Refused("predict_timeout", detail, 504)
    return _understood(answer[1])


def _put(question: Question) -> None:
    keys = [ALIVE, failures_key(question.version), QUESTIONS]
    code = _client().eval(PUT, len(keys), *keys, msgspec.json.encode(question), str(MOST_FAILURES), str(MOST_WAITING))
    if code:
        raise refusal(code.decode())


def refusal(code: str) -> Refused:
    """One of REFUSALS (503)."""
    detail, retry_after_seconds = REFUSALS[code]
    return Refused(code, detail, 503, retry_after_seconds=retry_after_seconds)


def _understood(answer: bytes) -> bytes:
    if answer[:1] == b"+":
        return answer[1:]
    said: dict[str, Any] = msgspec.json.decode(answer[1:])
    raise Refused(**said)


def answered(text: bytes) -> bytes:
    return b"+" + text


def refused(said: Refused) -> bytes:
    fields = ("code", "detail", "status", "errors")
    return b"-" + msgspec.json.encode({name: getattr(said, name) for name in fields})


def answer_key(question: str) -> str:
    return f"sm:predict:answer:{question}"


def failures_key(version: int) -> str:
    """Version 0 is the built-in detector."""
    return f"sm:predict:failures:{version}"


def _client() -> redis.Redis:
    return valkey.client(settings.PREDICT_TIMEOUT_SECONDS + 2)

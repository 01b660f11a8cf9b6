"""The pool: processes that answer questions one by one, and their parent, which replaces those that end.

Not Celery: a question costs the two sides of its queue 2 ms of processor time, more than most models take to answer;
a list in Valkey costs 0.4 ms (measured).
"""

import ctypes
import gc
import logging
import multiprocessing
import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from multiprocessing.connection import wait
from types import FrameType
from typing import Any

import msgspec
import psycopg
import redis
from django.conf import settings
from django.db import OperationalError, close_old_connections

from mlops.prediction import asking, limits
from mlops.prediction.questions import Question
from sensors import valkey
from sensors.errors import Refused

logger = logging.getLogger(__name__)

# Scoring and people come first, as with the other workers.
NICENESS = 3
# Imported once, before the first process is made: they take seconds and 200 MB, which the processes then share.
# Nothing is computed with them here: threads of OpenMP do not survive a fork.
LIBRARIES = ("mlops.prediction.answering", "lightgbm", "sklearn.ensemble", "sklearn.svm", "shap")
STOP_SECONDS = 5.0
YOUNG_SECONDS = 1.0
_FORK = multiprocessing.get_context("fork")


@dataclass
class Answering:
    """A process of the pool; `at_work` holds the id and the version of the question it is at."""

    process: Any
    at_work: Any
    begun: float = field(default_factory=time.monotonic)

    def question(self) -> tuple[str, int] | None:
        identifier, _, version = bytes(self.at_work.value).decode().partition(" ")
        return (identifier, int(version)) if identifier else None


class Pool:
    """`size` processes, always."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.stopping = False
        self._processes: list[Answering] = []

    def run(self) -> None:
        """Until a signal says to stop."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        for name in LIBRARIES:
            import_module(name)
        # What is never looked at by the collector stays shared.
        gc.freeze()
        while not self.stopping:
            self._processes += [_begin() for _ in range(self.size - len(self._processes))]
            if self._processes:
                _say_that_we_listen()
            wait([each.process.sentinel for each in self._processes], asking.ALIVE_EVERY_SECONDS)
            self._see_to_the_dead()
        self._end()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.stopping = True

    def _see_to_the_dead(self) -> None:
        for each in [each for each in self._processes if not each.process.is_alive()]:
            self._processes.remove(each)
            _account_for(each)
            if each.question() is None and time.monotonic() - each.begun < YOUNG_SECONDS:
                # Whatever keeps processes from living at all must not keep the machine busy.
                time.sleep(YOUNG_SECONDS)

    def _end(self) -> None:
        for each in self._processes:
            each.process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for each in self._processes:
            each.process.join(max(0.0, deadline - time.monotonic()))
            each.process.kill()


def _begin() -> Answering:
    at_work = _FORK.Array(ctypes.c_char, 80, lock=False)
    process = _FORK.Process(target=_answer_questions, args=(at_work, os.getpid()), name="predict")
    process.start()
    return Answering(process, at_work)


def _say_that_we_listen() -> None:
    with suppress(redis.RedisError):
        valkey.client().set(asking.ALIVE, "1", ex=asking.ALIVE_SECONDS)


def _account_for(ended: Answering) -> None:
    """Tell whoever waited for a process that has ended, and remember which version it was at."""
    at, exitcode = ended.question(), ended.process.exitcode
    if at is None:
        return
    question, version = at
    logger.error("a model ended its process", extra={"version": version, "exitcode": exitcode})
    if exitcode == limits.TIMED_OUT:
        refusal = Refused("model_timeout", "The model took too long to answer and was stopped.", 504)
    else:
        refusal = Refused("model_crashed", "The model crashed.", 502)
    with suppress(redis.RedisError):
        _blame(version)
        _reply(question, asking.refused(refusal))


def _answer_questions(at_work: Any, parent: int) -> None:
    """What a process of the pool does until it is told to stop, its parent is gone, or a model ends it."""
    stop = {"now": False}
    signal.signal(signal.SIGTERM, lambda *_: stop.update(now=True))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    os.nice(NICENESS)
    limits.one_thread()
    limits.limit_memory(settings.PREDICT_MEMORY_MB)
    while not stop["now"] and os.getppid() == parent:
        try:
            found = valkey.client().blpop([asking.QUESTIONS], timeout=1)
        except redis.RedisError:
            time.sleep(1)
            continue
        if found and not _answer(msgspec.json.decode(found[1], type=Question), at_work):
            return


def _answer(question: Question, at_work: Any) -> bool:
    """False when this process should not answer another one."""
    if question.until < time.time():
        return True
    at_work.value = f"{question.id} {question.version}".encode()
    sane = True
    try:
        close_old_connections()
        reply = _said(question)
    except MemoryError:
        _blame(question.version)
        sane = False
        reply = asking.refused(Refused("model_failed", "The model needs more memory than it may have.", 502))
    with suppress(redis.RedisError):
        _reply(question.id, reply)
    at_work.value = b""
    return sane


def _said(question: Question) -> bytes:
    from mlops.prediction import answering

    try:
        return asking.answered(answering.answer(question))
    except Refused as refusal:
        return asking.refused(refusal)
    except MemoryError:
        raise
    except (OperationalError, psycopg.OperationalError):
        logger.exception("the database did not answer")
        return asking.refused(Refused("database_busy", "The database does not answer in time; ask again.", 503))
    except Exception as error:
        logger.exception("a model failed", extra={"version": question.version})
        detail = f"The model failed ({type(error).__name__}); the log has more."
        return asking.refused(Refused("model_failed", detail, 502))


def _reply(question: str, reply: bytes) -> None:
    with valkey.client().pipeline(transaction=False) as pipe:
        pipe.rpush(asking.answer_key(question), reply)
        pipe.expire(asking.answer_key(question), asking.ANSWER_SECONDS)
        pipe.execute()


def _blame(version: int) -> None:
    with suppress(redis.RedisError), valkey.client().pipeline() as pipe:
        pipe.incr(asking.failures_key(version))
        pipe.expire(asking.failures_key(version), asking.FAILING_SECONDS)
        pipe.execute()

"""Limits of a process of the pool, kept by the kernel: a model that hangs in foreign code cannot evade them."""

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# What a model may take from the rows to the answer. Less than half of what a caller waits: who comes after one that
# hangs is answered.
ANSWER_SECONDS = 4.0
# How a process ends that has used up its time.
TIMED_OUT = -signal.SIGALRM


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """End this process unless the block ends before."""
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def limit_memory(more_mb: int) -> None:
    """Allow the process so much memory beyond what it has; asking for more raises MemoryError."""
    status = Path("/proc/self/status")
    if not status.exists():  # Only Linux counts what is meant here.
        return
    held_kb = next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmData:"))
    limit = held_kb * 1024 + more_mb * 1024**2
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def one_thread() -> None:
    """Libraries that would use every core for an answer use one: there are other processes for the other cores."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)

"""How many requests a caller may make: a bucket of tokens for each, refilled at its rate.

Counted in each web process by itself: a limit is exact with one process and that many times higher with several. It
keeps a runaway sender from crowding out the others, also while Valkey is away.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Hashable

# A caller that has been quiet may send this many seconds' worth at once.
BURST_SECONDS = 1.0
# The least recently seen callers are forgotten first: they have full buckets anyway.
REMEMBERED = 10_000


class RateLimit:
    """Token buckets by caller. Safe for threads.

    >>> limit = RateLimit()
    >>> [limit.wait("gateway", 2, now=0.0) for _ in range(3)], limit.wait("gateway", 2, now=0.5)
    ([0.0, 0.0, 0.5], 0.0)
    """

    def __init__(self) -> None:
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait(self, caller: Hashable, per_second: float, now: float | None = None) -> float:
        """Take a token and return 0, or the seconds until there is one; `per_second` of 0 means no limit."""
        if not per_second:
            return 0.0
        now = time.monotonic() if now is None else now
        full = max(1.0, per_second * BURST_SECONDS)
        with self._lock:
            tokens, at = self._buckets.pop(caller, (full, now))
            tokens = min(full, tokens + (now - at) * per_second)
            allowed = tokens >= 1
            self._buckets[caller] = (tokens - 1 if allowed else tokens, now)
            if len(self._buckets) > REMEMBERED:
                self._buckets.popitem(last=False)
        return 0.0 if allowed else (1 - tokens) / per_second


keys = RateLimit()
addresses = RateLimit()

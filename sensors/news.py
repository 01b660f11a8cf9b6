"""Tells workers and open pages that readings have come in, soon after and never at the sender's expense.

A sender is answered when its readings are on disk. Telling is done beside that, by one thread of the process, ten times
a second; once a second where more than a hundred small batches come in a second: the fewer looks the workers take, the
more of a sensor's readings they score together. News that a dying process takes along is made up for by the sweep of
the outbox and by what pages fetch themselves.
"""

import threading
import time

from sensors import live, outbox

SHORTEST_PAUSE, LONGEST_PAUSE = 0.1, 1.0
PAUSE_PER_BATCH = 0.01

_batches: list[set[int]] = []
_lock = threading.Lock()
_wake = threading.Event()
_teller: threading.Thread | None = None


def tell(site_ids: set[int]) -> None:
    """Readings of these sites were stored. Returns at once and never raises."""
    global _teller
    with _lock:
        _batches.append(site_ids)
        # Looked at each time: a forked process starts without the thread of its parent.
        if _teller is None or not _teller.is_alive():
            _teller = threading.Thread(target=_tell_again_and_again, name="news", daemon=True)
            _teller.start()
    _wake.set()


def _tell_again_and_again() -> None:
    while True:
        _wake.wait()
        _wake.clear()
        with _lock:
            told = list(_batches)
            _batches.clear()
        outbox.nudge()
        live.publish_readings(set().union(*told))
        time.sleep(min(max(PAUSE_PER_BATCH * len(told), SHORTEST_PAUSE), LONGEST_PAUSE))

"""Tells workers and open pages that readings have come in, soon after and never at the sender's expense.

A sender is answered when its readings are on disk. Telling is done beside that, by one thread of the process, at most
every PAUSE_SECONDS: a hundred small batches are one piece of news. News that a dying process takes along is made up for
by the sweep of the outbox and by what pages fetch themselves.
"""

import threading
import time

from sensors import live, outbox

PAUSE_SECONDS = 0.25

_site_ids: set[int] = set()
_lock = threading.Lock()
_wake = threading.Event()
_teller: threading.Thread | None = None


def tell(site_ids: set[int]) -> None:
    """Readings of these sites were stored. Returns at once and never raises."""
    global _teller
    with _lock:
        _site_ids.update(site_ids)
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
            sites = set(_site_ids)
            _site_ids.clear()
        outbox.nudge()
        live.publish_readings(sites)
        time.sleep(PAUSE_SECONDS)

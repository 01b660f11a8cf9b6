"""Ends a child process whose parent was killed.

Granian's and Celery's main processes start children that do the work. `kill -9` of a main process leaves its children
running beside the ones its successor starts: two web processes would share one port, the old one for ever.
"""

import os
import threading
import time


def exit_when_orphaned() -> None:
    """Watch the parent from a thread; end this process at once, within a second, when the parent has gone."""
    threading.Thread(target=_watch, args=(os.getppid(),), name="parent-watch", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)

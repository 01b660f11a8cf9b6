"""A file is checked or run: read block by block, in turns.

A worker reads a file in turns of about a second. While it reads it holds no lock that anybody else may wait for; the
file's own lock only keeps a second worker from unpacking the same in vain. Each block's readings, sensors and position
are one transaction, so a worker that is killed leaves the next one exactly where the last block ended.
"""

import fcntl
import logging
import time
from datetime import timedelta
from typing import IO, Any

import msgspec
from celery import current_app
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from sensors import lookup
from sensors.access import Sender
from sensors.columns import Columns
from sensors.errors import Refused
from sensors.formats import csv
from sensors.imports.kept import keep_for_ever, outliving
from sensors.imports.new_sensors import create_sensors, units_sent
from sensors.imports.report import Report
from sensors.ingest import store_batch
from sensors.models import Import, ReadingBatch, Sensor
from sensors.outbox import TURN_SECONDS

logger = logging.getLogger(__name__)

State = Import.State
# A packed file is unpacked anew up to where the last turn ended; so much longer than that the turn then lasts.
TURN_PER_SEEK = 4.0
# With so many rows refused, and every tenth, the mapping is wrong and the quarantine is not the place to find out.
MAX_REFUSED = 10_000
MAX_REFUSED_SHARE = 0.1
# Failures that are no fault of the file, a lost database above all, are tried again this often without progress.
MAX_ATTEMPTS = 10


def check(row: Import) -> None:
    """Read the whole file and report what it would bring in; nothing is stored. Raises Refused."""
    _begin(row, State.CHECKING)


def run(row: Import) -> None:
    """Store the readings of the file. Raises Refused."""
    _begin(row, State.RUNNING)


def _begin(row: Import, state: State) -> None:
    csv.parse_layout(row.layout)
    now = timezone.now()
    fields: dict[str, Any] = dict.fromkeys(("rows", "stored", "duplicates", "refused", "new_sensors"), 0)
    fields |= {"state": state, "position": {}, "read_bytes": 0, "error": "", "attempts": 0, "changed_at": now}
    fields |= {"layout": row.layout, "asset": row.asset, "finished_at": None}
    if state is State.CHECKING:
        fields["report"] = {}
    changeable = Import.objects.filter(pk=row.pk, state__in=(State.UPLOADED, State.READY, State.FAILED))
    with transaction.atomic():
        if not changeable.exclude(file="").update(**fields):
            raise Refused("import_state", "This file is being read, or was read already.", 409)
        transaction.on_commit(lambda: _nudge(row.pk), robust=True)
    row.refresh_from_db()


def cancel(row: Import) -> None:
    """Stop, and remove the file; what was stored stays. Raises Refused when it is over already."""
    over = (State.DONE, State.CANCELLED)
    open_rows = Import.objects.filter(pk=row.pk).exclude(state__in=over)
    now = timezone.now()
    if not open_rows.update(state=State.CANCELLED, file="", finished_at=now, changed_at=now):
        raise Refused("import_state", "This import is over.", 409)
    if row.file:
        row.path.unlink(missing_ok=True)
    row.refresh_from_db()


def _nudge(pk: int) -> None:
    try:
        current_app.send_task("sensors.tasks.take_turn", (pk,), expires=60)
    except Exception:
        logger.warning("import not announced; the sweep will find it", extra={"import_id": pk})


def resume() -> None:
    """Announce imports that nobody has worked on for a while: their worker died, or their message was lost."""
    quiet = timezone.now() - timedelta(seconds=10)
    for pk in Import.objects.at_work().filter(changed_at__lt=quiet).values_list("pk", flat=True):
        _nudge(pk)


def take_turn(pk: int) -> None:
    """Read on in a file for a turn, and announce what is left. May be called by any number of workers at once."""
    row = Import.objects.select_related("uploaded_by").filter(pk=pk).first()
    if row is None or not row.is_at_work:
        return
    try:
        with row.path.open("rb") as file:
            more = _is_first_to_read(file) and _Turn(row, file).take()
    except Refused as refusal:
        _end(row, State.FAILED, error=refusal.detail)
    except FileNotFoundError:
        _end(row, State.FAILED, error="The uploaded file is gone.")
    except Exception as error:
        logger.exception("import interrupted", extra={"import_id": pk})
        _count_failure(row, error)
    else:
        if more:
            _nudge(pk)


def _is_first_to_read(file: IO[bytes]) -> bool:
    """Whether no other worker is at this file. The lock goes with the open file, however its process ends."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _count_failure(row: Import, error: Exception) -> None:
    # Its transaction may have created sensors that do not exist now.
    lookup.forget()
    row.refresh_from_db()
    if row.attempts + 1 >= MAX_ATTEMPTS:
        _end(row, State.FAILED, error=f"{type(error).__name__}: {error}")
    else:
        Import.objects.filter(pk=row.pk).update(attempts=row.attempts + 1, changed_at=timezone.now())


def _end(row: Import, state: State, error: str = "") -> None:
    """It is over, unless somebody has changed its state meanwhile."""
    now = timezone.now()
    fields: dict[str, Any] = {"state": state, "error": error[:500], "changed_at": now, "finished_at": now}
    if state is State.DONE:
        fields["file"] = ""
    Import.objects.filter(pk=row.pk, state=row.state).update(**fields)


def stop_a_wrong_mapping(refused: int, read: int) -> None:
    """Raises Refused when so many of the readings were refused that it cannot be the readings."""
    if refused > max(MAX_REFUSED, MAX_REFUSED_SHARE * read):
        detail = f"{refused:,} of {read:,} readings were refused; correct the mapping and run it again."
        raise Refused("too_many_refused", detail)


def _nothing_stored(row: Import) -> bool:
    return bool(row.rows) and not row.stored and not row.duplicates


class _Turn:
    """One worker's turn on one file."""

    def __init__(self, row: Import, file: IO[bytes]) -> None:
        self.row = row
        self.file = file
        self.layout = csv.parse_layout(row.layout)
        self.position = row.position
        self.sender = Sender(user=row.uploaded_by, site_id=row.site_id)
        self.known: set[str] = set()

    def take(self) -> bool:
        """Returns whether there is more to do, for this worker to announce."""
        begin = time.monotonic()
        step = self._check_block if self.row.state == State.CHECKING else self._store_block
        blocks = csv.read(self.file, self.layout, msgspec.convert(self.position, csv.Position))
        deadline = begin + TURN_SECONDS
        first = True
        while True:
            # The first block of a turn may lie behind gigabytes that have to be unpacked: whoever cancels cannot wait.
            chunk = next(blocks, None)
            with transaction.atomic():
                row = self._claim()
                if row is None:
                    return False
                if chunk is None:
                    self._finish(row)
                else:
                    step(row, chunk)
                    self._save(row, chunk)
            if chunk is None:
                if self.row.state == State.RUNNING and not _nothing_stored(row):
                    self.row.path.unlink(missing_ok=True)
                return False
            if first:
                deadline = max(deadline, begin + TURN_PER_SEEK * (time.monotonic() - begin))
                first = False
            if time.monotonic() > deadline:
                return True

    def _finish(self, row: Import) -> None:
        if row.state == State.CHECKING:
            _end(row, State.READY)
        elif _nothing_stored(row):
            _end(row, State.FAILED, error="No reading could be stored; correct the mapping and run it again.")
        else:
            _end(row, State.DONE)

    def _claim(self) -> Import | None:
        """The row, locked; None when another worker has it, has read on, or somebody cancelled it."""
        rows = Import.objects.select_for_update(skip_locked=True).filter(pk=self.row.pk, state=self.row.state)
        return rows.filter(position=self.position).first()

    def _save(self, row: Import, chunk: csv.Chunk) -> None:
        self.position = row.position = msgspec.to_builtins(chunk.position)
        row.rows = chunk.position.rows
        row.read_bytes = min(self.file.tell(), row.size)
        row.changed_at, row.attempts = timezone.now(), 0
        row.save()

    def _check_block(self, row: Import, chunk: csv.Chunk) -> None:
        report = msgspec.convert(row.report, Report)
        latest = timezone.now().timestamp() + settings.FUTURE_TOLERANCE_SECONDS
        known = Sensor.objects.filter(site=row.site_id, sensor_id__in=chunk.columns.sensor_ids)
        sensors = {sensor.sensor_id: sensor for sensor in known}
        refused = report.add(chunk.columns, self.layout, int(latest * 1e6), sensors)
        row.refused += refused
        row.stored += len(chunk.columns) + len(chunk.columns.rejected) - refused
        report.keep([sensor.sensor_id for sensor in outliving(chunk.columns, self.row.site_id)])
        row.report = msgspec.to_builtins(report)

    def _store_block(self, row: Import, chunk: csv.Chunk) -> None:
        row.new_sensors += self._create_sensors(chunk)
        stored = store_batch(chunk.columns, source="import", sender=self.sender, mode=ReadingBatch.Mode.HISTORY)
        if stored.accepted:
            self._keep(row, chunk.columns)
        row.stored += stored.accepted
        row.duplicates += stored.duplicates
        row.refused += len(stored.rejected)
        stop_a_wrong_mapping(row.refused, row.stored + row.duplicates + row.refused)

    def _keep(self, row: Import, columns: Columns) -> None:
        if kept := outliving(columns, self.row.site_id):
            keep_for_ever(kept)
            report = msgspec.convert(row.report, Report)
            report.keep([sensor.sensor_id for sensor in kept])
            row.report = msgspec.to_builtins(report)

    def _create_sensors(self, chunk: csv.Chunk) -> int:
        unit_of = {name: unit for name, unit in units_sent(chunk.columns) if name not in self.known}
        self.known |= unit_of.keys()
        return create_sensors(unit_of, chunk.names, self.row.site_id, self.row.asset)

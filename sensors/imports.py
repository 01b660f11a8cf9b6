"""Files of readings, from the upload to the last row: kept, looked at, mapped, checked, run.

A worker reads a file in turns of about a second. Each block's readings, sensors and position are one transaction, so a
worker that is killed leaves the next one exactly where the last block ended.
"""

import logging
import shutil
import time
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

import msgspec
import numpy as np
from celery import current_app
from django.conf import settings
from django.contrib.auth.models import User
from django.core.files.uploadedfile import TemporaryUploadedFile, UploadedFile
from django.db import transaction
from django.utils import timezone

from sensors import discovery, lookup
from sensors.access import Sender
from sensors.columns import Columns
from sensors.errors import Refused
from sensors.formats import MAX_SENSOR_ID, as_sensor_id, csv
from sensors.import_report import Report
from sensors.ingest import store_batch
from sensors.models import Asset, Import, ReadingBatch, Sensor, Site
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
# Files that wait for a person, per site, and for how long.
MAX_WAITING = 20
KEPT_DAYS = 7
# Left on the disk for everything else.
FREE_BYTES = 1024**3


def receive(upload: UploadedFile, *, site: Site, user: User, asset: Asset | None = None) -> Import:
    """Keep an uploaded file and guess how it is laid out. Raises Refused when it is no table, or cannot be kept."""
    waiting = Import.objects.filter(site=site).exclude(file="").count()
    if waiting >= MAX_WAITING:
        raise Refused("too_many_imports", f"{waiting} files of this site wait already; run or cancel some.", 409)
    directory = settings.STATE_DIR / "imports"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    size = upload.size or 0
    if shutil.disk_usage(directory).free < size + FREE_BYTES:
        raise Refused("disk_full", "The server has no room for this file; ask whoever runs it.", 507)
    row = Import(site=site, uploaded_by=user, asset=asset, name=(upload.name or "upload")[:200], size=size)
    row.file = uuid.uuid4().hex
    try:
        _keep(upload, row.path)
        with row.path.open("rb") as file:
            row.layout = msgspec.to_builtins(guess(file, row.name, site))
        row.save()
    except BaseException:
        row.path.unlink(missing_ok=True)
        raise
    return row


def guess(file: IO[bytes], name: str, site: Site | None) -> csv.Layout:
    """How a file is laid out, its times in the site's zone where they name none."""
    known = frozenset(Sensor.objects.filter(site=site).values_list("sensor_id", flat=True)) if site else frozenset()
    layout = csv.guess(csv.sample_of(file), stem=name.partition(".")[0], known=known)
    return msgspec.structs.replace(layout, timezone=str(site.timezone) if site else "")


def _keep(upload: UploadedFile, path: Path) -> None:
    if isinstance(upload, TemporaryUploadedFile):
        # In the same directory already (FILE_UPLOAD_TEMP_DIR): nothing is copied.
        shutil.move(upload.temporary_file_path(), path)
        return
    with path.open("wb") as file:
        for chunk in upload.chunks():
            file.write(chunk)


def check(row: Import) -> None:
    """Read the whole file and report what it would bring in; nothing is stored. Raises Refused."""
    _begin(row, State.CHECKING)


def run(row: Import) -> None:
    """Store the readings of the file. Raises Refused."""
    _begin(row, State.RUNNING)


def _begin(row: Import, state: State) -> None:
    csv.parse_layout(row.layout)
    now = timezone.now()
    started = {"state": state, "position": {}, "read_bytes": 0, "error": "", "attempts": 0, "changed_at": now}
    counts = dict.fromkeys(("rows", "stored", "duplicates", "refused", "new_sensors"), 0)
    report = {"report": {}} if state is State.CHECKING else {}
    changeable = Import.objects.filter(pk=row.pk, state__in=(State.UPLOADED, State.READY, State.FAILED)).exclude(file="")
    with transaction.atomic():
        if not changeable.update(**started, **counts, **report, finished_at=None, layout=row.layout, asset=row.asset):
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


def forget_old() -> int:
    """Remove files that nobody has run for KEPT_DAYS; returns how many."""
    old = timezone.now() - timedelta(days=KEPT_DAYS)
    rows = list(Import.objects.exclude(file="").filter(changed_at__lt=old))
    for row in rows:
        row.path.unlink(missing_ok=True)
        state = row.state if row.state == State.FAILED else State.CANCELLED
        Import.objects.filter(pk=row.pk).update(file="", state=state, error=row.error or "Nobody ran it in time.")
    return len(rows)


def take_turn(pk: int) -> None:
    """Read on in a file for a turn, and announce what is left. May be called by any number of workers at once."""
    row = Import.objects.select_related("uploaded_by").filter(pk=pk).first()
    if row is None or not row.is_at_work:
        return
    try:
        with row.path.open("rb") as file:
            more = _Turn(row, file).take()
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
    if Import.objects.filter(pk=row.pk, state=row.state).update(**fields) and state is State.DONE:
        row.path.unlink(missing_ok=True)


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
            with transaction.atomic():
                row = self._claim()
                if row is None:
                    return False
                chunk = next(blocks, None)
                if chunk is None:
                    _end(row, State.READY if row.state == State.CHECKING else State.DONE)
                    return False
                step(row, chunk)
                self._save(row, chunk)
            if first:
                deadline = max(deadline, begin + TURN_PER_SEEK * (time.monotonic() - begin))
                first = False
            if time.monotonic() > deadline:
                return True

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
        read = row.stored + row.duplicates + row.refused
        if row.state == State.RUNNING and row.refused > max(MAX_REFUSED, MAX_REFUSED_SHARE * read):
            detail = f"{row.refused:,} of {read:,} readings were refused: the mapping is probably wrong. Correct it and run again."
            raise _StopAfterSaving(detail)

    def _check_block(self, row: Import, chunk: csv.Chunk) -> None:
        report = msgspec.convert(row.report, Report)
        latest = timezone.now().timestamp() + settings.FUTURE_TOLERANCE_SECONDS
        refused = report.add(chunk.columns, self.layout, int(latest * 1e6))
        row.refused += refused
        row.stored += len(chunk.columns) + len(chunk.columns.rejected) - refused
        row.report = msgspec.to_builtins(report)

    def _store_block(self, row: Import, chunk: csv.Chunk) -> None:
        row.new_sensors += self._create_sensors(chunk.columns)
        stored = store_batch(chunk.columns, source="import", sender=self.sender, mode=ReadingBatch.Mode.HISTORY)
        row.stored += stored.accepted
        row.duplicates += stored.duplicates
        row.refused += len(stored.rejected)

    def _create_sensors(self, columns: Columns) -> int:
        unit_of = {name: unit for name, unit in units_sent(columns) if name not in self.known}
        self.known |= unit_of.keys()
        return create_sensors(unit_of, self.row.site_id, self.row.asset)


def units_sent(columns: Columns) -> Iterator[tuple[str, str | None]]:
    """Each sensor of a batch, with the unit of its first reading, None where that names none."""
    codes, places = np.unique(columns.codes, return_index=True)
    for code, unit in zip(codes.tolist(), columns.units[places].tolist(), strict=True):
        yield columns.sensor_ids[code], columns.unit_names[unit] if unit >= 0 else None


def create_sensors(unit_of: dict[str, str | None], site_id: int, asset: Asset | None) -> int:
    """Create those of these sensors that the site does not have, on `asset` or waiting to be placed; returns how many.

    Their readings are kept for ever, as imported history is. What makes no sensor is left to `store_batch` to refuse.
    """
    known = set(Sensor.objects.filter(site=site_id, sensor_id__in=list(unit_of)).values_list("sensor_id", flat=True))
    new = [name for name in unit_of if name not in known and name == as_sensor_id(name)[:MAX_SENSOR_ID]]
    waiting = 0 if asset else Sensor.objects.discovered().filter(site=site_id).count()
    new = new[: max(0, settings.DISCOVERY_LIMIT - waiting)]
    if not new:
        return 0
    place = asset or discovery.waiting_room(site_id)
    status = Sensor.Status.ACTIVE if asset else Sensor.Status.DISCOVERED
    sensors = []
    for name in new:
        kind, unit = discovery.infer(name, unit_of[name])
        about = {"sensor_id": name, "kind": kind, "unit": unit, "status": status, "retention_days": 0}
        sensors.append(Sensor(site_id=site_id, asset=place, **about))
    return len(Sensor.objects.bulk_create(sensors, ignore_conflicts=True))

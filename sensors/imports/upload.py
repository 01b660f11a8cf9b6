"""Uploaded files: kept and looked at, and removed when nobody wants them any more."""

import shutil
import uuid
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

import msgspec
from django.conf import settings
from django.contrib.auth.models import User
from django.core.files.uploadedfile import TemporaryUploadedFile, UploadedFile
from django.utils import timezone

from sensors.errors import Refused
from sensors.formats import csv
from sensors.models import Asset, Import, Sensor, Site

# Files that wait for a person, per site, and for how long.
MAX_WAITING = 20
KEPT_DAYS = 7
# Left on the disk for everything else.
FREE_BYTES = 1024**3


def receive(upload: "UploadedFile[Any]", *, site: Site, user: User, asset: Asset | None = None) -> Import:
    """Keep an uploaded file and guess how it is laid out. Raises Refused when it is no table, or cannot be kept."""
    waiting = Import.objects.filter(site=site).exclude(file="").count()
    if waiting >= MAX_WAITING:
        raise Refused("too_many_imports", f"{waiting} files of this site wait already; run or cancel some.", 409)
    name = (upload.name or "upload")[:200]
    row = Import(site=site, uploaded_by=user, asset=asset, name=name, size=upload.size or 0)
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


def ask_for_room(size: int) -> None:
    """Raises Refused (507) when `size` more bytes of uploads would leave the disk without room for everything else."""
    if shutil.disk_usage(settings.UPLOAD_DIR).free < size + FREE_BYTES:
        raise Refused("disk_full", "The server has no room for this file; ask whoever runs it.", 507)


def _keep(upload: "UploadedFile[Any]", path: Path) -> None:
    if isinstance(upload, TemporaryUploadedFile):
        # In the same directory already (FILE_UPLOAD_TEMP_DIR): nothing is copied.
        shutil.move(upload.temporary_file_path(), path)
        return
    ask_for_room(upload.size or 0)
    with path.open("wb") as file:
        for chunk in upload.chunks():
            file.write(chunk)


def forget_old() -> None:
    """Remove the files that nobody has run for KEPT_DAYS, and what interrupted uploads left behind."""
    old = timezone.now() - timedelta(days=KEPT_DAYS)
    waiting = Import.objects.exclude(file="").filter(changed_at__lt=old)
    waiting.exclude(state=Import.State.FAILED).update(
        file="", state=Import.State.CANCELLED, error="Nobody ran it in time; its file was removed."
    )
    waiting.update(file="")
    kept = set(Import.objects.exclude(file="").values_list("file", flat=True))
    for path in settings.UPLOAD_DIR.iterdir():
        if path.name not in kept and path.stat().st_mtime < old.timestamp():
            path.unlink(missing_ok=True)

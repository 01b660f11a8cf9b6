"""Files that people add to rows: kept in the default storage, handed out as attachments and never shown in our pages.

Whoever opens one in the browser would run what is in it with the rights of who is logged in.
"""

from pathlib import PurePath
from typing import Any
from uuid import uuid4

from django.core.exceptions import ValidationError
from django.core.files.base import File
from django.db.models.fields.files import FieldFile
from django.http import HttpResponse
from django.utils.http import content_disposition_header

from sensors.errors import Refused

MAX_FILE_BYTES = 12 * 1024 * 1024
MAX_NAME = 200
LONGEST_ENDING = 10


def validate_size(file: "File[Any]") -> None:
    """Raises ValidationError when a file is empty or larger than MAX_FILE_BYTES."""
    if not file.size:
        raise ValidationError("This file is empty.", code="empty")
    if file.size > MAX_FILE_BYTES:
        raise ValidationError(f"Files may have {MAX_FILE_BYTES // 1024**2} MB at most.", code="file_too_large")


def kept_as(folder: str, name: str) -> str:
    """Where a file of this name is kept: a name of ours, as people's may collide or mislead."""
    ending = PurePath(name).suffix.lower()
    return f"{folder}/{uuid4().hex}{ending if ending[1:].isalnum() and len(ending) <= LONGEST_ENDING else ''}"


def attachment(file: FieldFile, name: str) -> HttpResponse:
    """The file for download, by its own name. Raises Refused when the storage does not give it."""
    try:
        with file.open("rb") as opened:
            content = opened.read()
    except OSError:
        raise Refused("file_away", "The file cannot be read just now; try again later.", 503) from None
    response = HttpResponse(content, content_type="application/octet-stream")
    response.headers["Content-Disposition"] = content_disposition_header(True, name) or "attachment"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response.headers["Cache-Control"] = "private, no-store"
    return response

"""Photos and files of work orders: taken in, looked at by content, and given out to who sees the order."""

import warnings
from io import BytesIO

from django.contrib.auth.models import User
from django.core.files.base import ContentFile, File
from django.db import transaction
from django.http import FileResponse, Http404
from PIL import Image, ImageOps

from maintenance import answers, work_orders
from maintenance.models import Attachment, ChecklistItem, WorkOrder
from sensors import live
from sensors.errors import Refused
from sensors.files import MAX_FILE_BYTES

MAX_COUNT = 50
# Large enough to read a nameplate on.
MAX_SIDE = 2560
# Refused before it is decoded: a small file may claim to be a picture of gigabytes.
MAX_PIXELS = 50_000_000
PHOTOS = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}


def attach(order: WorkOrder, by: User, sent: File, item: ChecklistItem | None = None) -> Attachment:  # type: ignore[type-arg]
    """Keep a file with the order, or with a task of its checklist, which a photo answers.

    Photos are written anew, without where they were taken; browsers may show them. Everything else can only be saved.
    Raises Refused (413) for what is too large, and when the order has ended or has too many files.
    """
    if sent.size > MAX_FILE_BYTES:
        raise Refused("file_too_large", f"Files may have {MAX_FILE_BYTES // 1024**2} MB; this one has more.", 413)
    name = (sent.name or "file").replace("\\", "/").rsplit("/", 1)[-1][-200:]
    content, kind = _shown(sent)
    if item is not None and item.kind == ChecklistItem.Kind.PHOTO and not kind:
        raise Refused("no_photo", "This is no photo: send a JPEG, PNG or WebP picture.", 422)
    with transaction.atomic():
        order = work_orders.locked_running(order)
        if order.attachments.count() >= MAX_COUNT:
            raise Refused("too_many_files", f"An order keeps {MAX_COUNT} files.", 422)
        attachment = Attachment(order=order, item=item, name=name, content_type=kind, size=content.size, by=by)
        attachment.file.save(name if not kind else f"photo.{kind.rpartition('/')[2]}", content)
        if item is not None and item.kind == ChecklistItem.Kind.PHOTO:
            answers.answer(item, by)
        live.publish("work", site_id=order.site_id, asset_id=order.asset_id)
    return attachment


def response(attachment: Attachment) -> FileResponse:
    """The file for a browser: photos are shown, everything else is saved, nothing is run."""
    try:
        content = attachment.file.open("rb")
    except FileNotFoundError:
        raise Http404("The file is no longer in the storage.") from None
    shown = attachment.content_type in PHOTOS.values()
    kind = attachment.content_type if shown else "application/octet-stream"
    answer = FileResponse(content, as_attachment=not shown, filename=attachment.name, content_type=kind)
    answer.headers["X-Content-Type-Options"] = "nosniff"
    answer.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    answer.headers["Cache-Control"] = "private, max-age=3600"
    return answer


def _shown(sent: File) -> tuple[File, str]:  # type: ignore[type-arg]
    """A photo written anew with its content type; anything else as it came, with none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(sent, formats=list(PHOTOS)) as image:
                return _anew(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        sent.seek(0)
        return sent, ""


def _anew(image: Image.Image) -> tuple[File, str]:  # type: ignore[type-arg]
    kind = image.format or ""
    if image.width * image.height > MAX_PIXELS:
        raise Refused("picture_too_large", "This picture has too many pixels; send a smaller one.", 413)
    image.draft("RGB", (MAX_SIDE, MAX_SIDE))
    upright = ImageOps.exif_transpose(image)
    upright.thumbnail((MAX_SIDE, MAX_SIDE))
    if upright.mode not in ("RGB", "L"):
        upright = upright.convert("RGB" if kind == "JPEG" else "RGBA")
    written = BytesIO()
    # A new picture of the same pixels: what else the file carried stays behind.
    clean = Image.new(upright.mode, upright.size)
    clean.paste(upright)
    clean.save(written, kind, quality=85)
    return ContentFile(written.getvalue()), PHOTOS[kind]

"""What stands on a machine's nameplate, in words, and the documents that belong to it."""

from datetime import date
from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.files.base import File
from django.utils import timezone

from sensors.errors import Refused
from sensors.files import MAX_NAME, validate_size
from sensors.models import Asset, AssetDocument

SOON_DAYS = 90


def warranty(until: date | None, today: date) -> str:
    """How long the warranty still holds; in days when it ends soon.

    >>> warranty(date(2026, 3, 21), date(2026, 3, 1)), warranty(date(2026, 2, 28), date(2026, 3, 1))
    ('warranty ends in 20 days', 'warranty ended on 28 Feb 2026')
    """
    if until is None:
        return ""
    days = (until - today).days
    if days < 0:
        return f"warranty ended on {_day(until)}"
    if days > SOON_DAYS:
        return f"warranty until {_day(until)}"
    return f"warranty ends in {days} day{'' if days == 1 else 's'}" if days else "warranty ends today"


def in_words(asset: Asset) -> list[tuple[str, str]]:
    """What is known of an asset, with what it is called."""
    today = timezone.localdate(timezone=asset.site.timezone)
    said = [
        ("Class", str(asset.asset_class or "")),
        ("Maker", asset.manufacturer),
        ("Model", asset.model),
        ("Serial number", asset.serial_number),
        ("Rated power", "" if asset.power_kw is None else f"{asset.power_kw:g} kW"),
        ("In service since", _day(asset.commissioned_on) if asset.commissioned_on else ""),
        ("Warranty", warranty(asset.warranty_until, today).removeprefix("warranty ")),
    ]
    return [(name, value) for name, value in said if value]


def add_document(asset: Asset, file: "File[Any]", by: User, name: str = "") -> AssetDocument:
    """Keep a file with an asset, by its own name unless it is given one. Refused when empty or too large."""
    try:
        validate_size(file)
    except ValidationError as error:
        raise Refused(str(error.code), error.messages[0]) from error
    called = (name.strip() or str(file.name))[:MAX_NAME]
    return AssetDocument.objects.create(asset=asset, name=called, file=file, size_bytes=file.size, added_by=by)


def remove_document(document: AssetDocument) -> None:
    """Nobody sees it any more; taking it away twice changes nothing."""
    AssetDocument.objects.standing().filter(pk=document.pk).update(removed_at=timezone.now())


def _day(day: date) -> str:
    return f"{day.day} {day:%b %Y}"

"""Labels for machines: a code that opens the asset's page on a phone, and its name for people."""

from io import BytesIO

import segno
from django.conf import settings
from django.utils.safestring import SafeString, mark_safe

from sensors.models import Asset

# Level Q: a quarter of a code may be scratched or under oil (ISO/IEC 18004).
ERROR_CORRECTION = "q"
# 12 points to a module print sharply at the size of a hand, and stay readable from a metre away.
PNG_SCALE = 12


def address(asset: Asset) -> str:
    """The asset's page as phones reach it."""
    return f"{settings.PUBLIC_URL.rstrip('/')}{asset.get_absolute_url()}"


def inline_svg(asset: Asset) -> SafeString:
    """The code for a page, as large as the page makes it."""
    return mark_safe(_code(asset).svg_inline(omitsize=True, border=4))  # noqa: S308 (segno's own, of an address of ours)


def svg(asset: Asset) -> bytes:
    return _written(asset, "svg", 4)


def png(asset: Asset) -> bytes:
    return _written(asset, "png", PNG_SCALE)


def _written(asset: Asset, kind: str, scale: int) -> bytes:
    out = BytesIO()
    _code(asset).save(out, kind=kind, scale=scale)
    return out.getvalue()


def _code(asset: Asset) -> segno.QRCode:
    return segno.make(address(asset), error=ERROR_CORRECTION, micro=False)

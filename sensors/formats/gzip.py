"""Undoes gzip with a hard limit, so that a few kilobytes cannot become gigabytes of memory."""

import zlib

from sensors.errors import Refused

# zlib's largest window, and 16 for the header and checksum of gzip.
GZIP_WINDOW = zlib.MAX_WBITS | 16


def inflate(body: bytes, limit: int) -> bytes:
    """The plain bytes of a gzipped body, of all its members.

    Raises Refused with `body_too_large` (413) as soon as more than `limit` bytes come out, and with `malformed_gzip`
    (400) when the body is not gzip or is cut off.
    """
    parts: list[bytes] = []
    left = limit
    while body or not parts:
        member = zlib.decompressobj(GZIP_WINDOW)
        try:
            part = member.decompress(body, left + 1)
        except zlib.error as error:
            raise Refused("malformed_gzip", f"The body is announced as gzip and is not: {error}", 400) from error
        if len(part) > left:
            detail = f"The body may have {limit:,} bytes when unpacked; send the readings in several requests."
            raise Refused("body_too_large", detail, 413)
        if not member.eof:
            raise Refused("malformed_gzip", "The gzipped body ends before its end; send it again.", 400)
        left -= len(part)
        parts.append(part)
        body = member.unused_data.lstrip(b"\0")
    return b"".join(parts)

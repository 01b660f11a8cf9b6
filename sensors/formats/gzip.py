"""Undoes gzip with a hard limit, so that a few kilobytes cannot become gigabytes of memory."""

import re
import zlib

from sensors.errors import Refused

# zlib's largest window, and 16 for the header and checksum of gzip.
GZIP_WINDOW = zlib.MAX_WBITS | 16
MAX_MEMBERS = 1000
# zlib copies what follows a member in what it is given: given all that is left, many members would cost its square.
SLICE_BYTES = 64 * 1024
_PADDING = re.compile(rb"\0*")


def inflate(body: bytes, limit: int) -> bytes:
    """The plain bytes of a gzipped body, of all its members.

    Raises Refused with `body_too_large` (413) as soon as more than `limit` bytes come out, and with `malformed_gzip`
    (400) when the body is not gzip, is cut off or has more than MAX_MEMBERS members.
    """
    parts: list[bytes] = []
    packed = memoryview(body)
    members = at = 0
    left = limit
    while at < len(body) or not members:
        members += 1
        if members > MAX_MEMBERS:
            raise Refused(
                "malformed_gzip", f"The gzipped body has more than {MAX_MEMBERS:,} members; pack it as one.", 400
            )
        member = zlib.decompressobj(GZIP_WINDOW)
        while not member.eof:
            given = packed[at : at + SLICE_BYTES]
            if not given:
                raise Refused("malformed_gzip", "The gzipped body ends before its end; send it again.", 400)
            try:
                part = member.decompress(given, left + 1)
            except zlib.error as error:
                raise Refused("malformed_gzip", f"The body is announced as gzip and is not: {error}", 400) from error
            if len(part) > left:
                detail = f"The body may have {limit:,} bytes when unpacked; send the readings in several requests."
                raise Refused("body_too_large", detail, 413)
            left -= len(part)
            parts.append(part)
            at += len(given) - len(member.unused_data)
        padding = _PADDING.match(body, at)
        at = padding.end() if padding else at
    return b"".join(parts)

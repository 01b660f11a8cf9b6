"""Where messages may go over the network, and for how long: connections made while one is sent pass here.

Python tells of every connection before it is made (audit event `socket.connect`, PEP 578), with the address that was
resolved: what is looked at is what is connected to, whatever library does it and whatever the name resolves to next.
"""

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from django.conf import settings

from alerts.delivery.transports import PermanentFailure, TemporaryFailure

# A connection that is not made by then is given up, and so is a receiver that says nothing for so long.
CONNECT_SECONDS = 5
# One message takes no longer than this in all, however slowly an answer drips in.
SEND_SECONDS = 10
# Translates to an IPv4 address (RFC 6052), which may be one of our own network.
NAT64 = ip_network("64:ff9b::/96")
# Like private networks, though deprecated (RFC 3879); Python takes them for public ones.
SITE_LOCAL = ip_network("fec0::/10")

_here = threading.local()


class Line:
    """The connections that this thread makes until it is closed."""

    def __init__(self, *, public_only: bool) -> None:
        self._public_only = public_only
        self._sockets: list[socket.socket] = []
        self._is_cut = False

    @contextmanager
    def at_most(self, seconds: float) -> Iterator[None]:
        """What runs inside is cut off after so many seconds; raises TemporaryFailure then."""
        self._is_cut = False
        timer = threading.Timer(seconds, self._cut)
        timer.daemon = True
        timer.start()
        failure: Exception | None = None
        try:
            yield
        except Exception as error:
            failure = error
        finally:
            timer.cancel()
        if self._is_cut:
            # What was read until then may look like the end of an answer.
            raise TemporaryFailure(f"no complete answer within {seconds:g} s") from failure
        if failure is not None:
            raise failure

    def see(self, opened: socket.socket, address: Any) -> None:
        if self._is_cut:
            raise TimeoutError("cut off")
        if self._public_only:
            require_public(address[0] if isinstance(address, tuple) else str(address))
        # A duplicate, because TLS takes the descriptor away from the socket that was connected.
        self._sockets.append(opened.dup())

    def close(self) -> None:
        for opened in self._sockets:
            opened.close()
        self._sockets.clear()

    def _cut(self) -> None:
        self._is_cut = True
        for opened in list(self._sockets):
            with suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)


@contextmanager
def line(*, public_only: bool) -> Iterator[Line]:
    """Watch the connections of this thread. With `public_only` those to addresses of private networks are refused,
    unless WEBHOOK_ALLOW_PRIVATE lists their network.
    """
    _watch()
    _here.line = line = Line(public_only=public_only)
    try:
        yield line
    finally:
        del _here.line
        line.close()


def require_public(host: str) -> None:
    """Raises PermanentFailure when a numeric address is not one of the public internet.

    >>> require_public("9.9.9.9")
    >>> require_public("::ffff:10.0.0.1")
    Traceback (most recent call last):
    alerts.delivery.transports.PermanentFailure: 10.0.0.1 is not an address of the public internet; ...
    """
    try:
        address = _meant(ip_address(host.partition("%")[0]))
    except ValueError as error:
        raise PermanentFailure("only addresses of the internet can be reached") from error
    if any(address in network for network in map(ip_network, settings.WEBHOOK_ALLOW_PRIVATE)):
        return
    if not address.is_global or address.is_multicast or address.is_reserved or address in SITE_LOCAL:
        what = "is not an address of the public internet; WEBHOOK_ALLOW_PRIVATE can allow its network"
        raise PermanentFailure(f"{address} {what}")


def _meant(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address inside one of the ways to write or to tunnel it."""
    if isinstance(address, IPv4Address):
        return address
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo and address.teredo[1]) or address


@cache
def _watch() -> None:
    """Audit hooks stay for the life of a process; this one looks at threads that have a line only."""
    sys.addaudithook(_look)


def _look(event: str, args: tuple[Any, ...]) -> None:
    if event == "socket.connect" and (line := getattr(_here, "line", None)) is not None:
        line.see(*args)

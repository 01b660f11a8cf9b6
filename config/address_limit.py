"""Turns away addresses that make too many requests of the API, before anything is asked of the database."""

import math
from collections import Counter
from typing import Any

from config.body_limit import Application, Receive, Refusal, Send, refuse
from sensors import limits

# Requests of one address at the same time; the server takes about a thousand in all. Half-sent ones count, too.
MAX_OPEN = 256


class AddressLimit:
    """Wraps an ASGI application: each address may make `per_second` requests to paths under /api/; 0 means any number.

    Behind `trusted_proxies` of our own the address is the one that the outermost of them saw.
    """

    def __init__(self, application: Application, per_second: int, trusted_proxies: int) -> None:
        self.application = application
        self.per_second = per_second
        self.trusted_proxies = trusted_proxies
        self.open: Counter[str] = Counter()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if not scope["path"].startswith("/api/"):
            await self.application(scope, receive, send)
            return
        address = self._address(scope)
        wait = limits.addresses.wait(address, self.per_second)
        if wait:
            await refuse(send, receive, _too_many(self.per_second, math.ceil(wait)))
            return
        if self.open[address] >= MAX_OPEN:
            await refuse(send, None, TOO_MANY_OPEN)
            return
        self.open[address] += 1
        try:
            await self.application(scope, receive, send)
        finally:
            self.open[address] -= 1
            if not self.open[address]:
                del self.open[address]

    def _address(self, scope: dict[str, Any]) -> str:
        if self.trusted_proxies:
            forwarded = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for").split(b",")
            # Each proxy appends whom it heard; what stands before that may be made up.
            return forwarded[-min(self.trusted_proxies, len(forwarded))].strip().decode("latin-1")
        return str((scope.get("client") or [""])[0])


TOO_MANY_OPEN = Refusal(429, "too_many_open_requests", "Too many requests of this address are open at once.", 1)


def _too_many(per_second: int, retry_after_seconds: int) -> Refusal:
    detail = f"This address may make {per_second} requests a second; send more readings in each."
    return Refusal(429, "too_many_requests", detail, retry_after_seconds)

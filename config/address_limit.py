"""Turns away addresses that make too many requests of the API, before anything is asked of the database."""

import math
from typing import Any

from config.body_limit import Application, Receive, Refusal, Send, refuse
from sensors import limits


class AddressLimit:
    """Wraps an ASGI application: each address may make `per_second` requests to paths under /api/; 0 means any number.

    Behind `trusted_proxies` of our own the address is the one that the outermost of them saw.
    """

    def __init__(self, application: Application, per_second: int, trusted_proxies: int) -> None:
        self.application = application
        self.per_second = per_second
        self.trusted_proxies = trusted_proxies

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if self.per_second and scope["path"].startswith("/api/"):
            wait = limits.addresses.wait(self._address(scope), self.per_second)
            if wait:
                await refuse(send, receive, _too_many(self.per_second, math.ceil(wait)))
                return
        await self.application(scope, receive, send)

    def _address(self, scope: dict[str, Any]) -> str:
        if self.trusted_proxies:
            forwarded = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for").split(b",")
            # Each proxy appends whom it heard; what stands before that may be made up.
            return forwarded[-min(self.trusted_proxies, len(forwarded))].strip().decode("latin-1")
        return str((scope.get("client") or [""])[0])


def _too_many(per_second: int, retry_after_seconds: int) -> Refusal:
    detail = f"This address may make {per_second} requests a second; send more readings in each."
    return Refusal(429, "too_many_requests", detail, retry_after_seconds)

"""What we say when we say no."""

from collections.abc import Sequence
from typing import Any


class Refused(Exception):
    """A request that cannot be done, said so that both a person and a program can act on it.

    `code` is stable: clients match on it. `detail` says what to do next. `errors` are the single reasons, if there are
    several, as the API shows them. `retry_after_seconds` is when trying again may help.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        status: int = 409,
        errors: Sequence[dict[str, Any]] = (),
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.status = status
        self.errors = errors
        self.headers = {} if retry_after_seconds is None else {"Retry-After": str(retry_after_seconds)}

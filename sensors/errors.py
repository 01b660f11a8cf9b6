"""What we say when we say no."""


class Refused(Exception):
    """A request that cannot be done, said so that both a person and a program can act on it.

    `code` is stable: clients match on it. `detail` says what to do next.
    """

    def __init__(self, code: str, detail: str, status: int = 409) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.status = status

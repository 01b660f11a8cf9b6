"""Things that need saying only once in a while, whichever process says them: a mark in Valkey that fades by itself."""

from sensors import valkey


def first(mark: str, seconds: int) -> bool:
    """True for whoever comes first; False for everybody else until `seconds` have passed or the mark was cleared.

    Raises redis.RedisError when Valkey is away.
    """
    return bool(valkey.client().set(_key(mark), 1, nx=True, ex=seconds))


def clear(mark: str) -> None:
    """Whoever comes next is the first again. Raises redis.RedisError when Valkey is away."""
    valkey.client().delete(_key(mark))


def _key(mark: str) -> str:
    return f"sm:once:{mark}"

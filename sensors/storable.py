"""What senders and people may have written, as PostgreSQL's text and jsonb can hold it."""

import math
import re
from typing import Any

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def storable(value: Any) -> Any:
    """The same in JSON's types, without NUL and lone surrogates; a number beyond a float's range becomes None.

    >>> storable({"a\\0b": ["\\ud800", 1e999, 2, True]})
    {'a�b': ['�', None, 2, True]}
    """
    match value:
        case str():
            return _UNSTORABLE.sub("\ufffd", value)
        case int() | float():
            return value if _is_finite(value) else None
        case dict():
            return {storable(name): storable(item) for name, item in value.items()}
        case list() | tuple():
            return [storable(item) for item in value]
    return value


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:
        return False

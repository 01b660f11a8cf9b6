"""One module per format that readings arrive in; each parses into `sensors.columns.Columns`.

Every parser gives good rows and the rejected ones together; it raises nothing but `sensors.errors.Refused`, and only
where a body as a whole makes no sense.
"""

import re

from sensors.formats.latin import latin

# Bounds the time and memory that one request may cost; a row that must be refused costs the most.
MAX_ROWS = 50_000
# The longest key a sensor may have (sensors.models.Sensor.sensor_id).
MAX_SENSOR_ID = 100
# Longer than any unit's name. A unit that is sent once for many rows is quoted in the refusal of each.
MAX_UNIT = 50
# So much of a row that could not be read is kept for whoever corrects it.
MAX_RAW_CHARACTERS = 2000
_NOT_IN_A_KEY = re.compile(r"[^A-Za-z0-9._:/-]")


def raw_payload(row: bytes | str) -> dict[str, str]:
    """What is kept of a row that could not be read. PostgreSQL has no text with NUL in it.

    >>> raw_payload(b"p101 \\x00 21.5")
    {'raw': 'p101 � 21.5'}
    """
    # A character of UTF-8 has four bytes at most.
    text = row[: 4 * MAX_RAW_CHARACTERS].decode(errors="replace") if isinstance(row, bytes) else row
    return {"raw": text[:MAX_RAW_CHARACTERS].replace("\0", "�")}


def as_sensor_id(name: str) -> str:
    """The key that the outside world's name for a sensor becomes, in Latin letters; what no key can have is `_`.

    Two names may become one key; see `sensors.formats.csv.names.keys_apart`.

    >>> as_sensor_id("  Pump 1 / Öl-Temp.")
    'Pump_1_/_Oel-Temp.'
    """
    name = name.strip()
    return _NOT_IN_A_KEY.sub("_", name if name.isascii() else latin(name)).lstrip("._:/-")

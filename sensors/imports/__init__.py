"""Files of readings, from the upload to the last row: kept, looked at, mapped, checked, run."""

from sensors.imports.kept import keep_for_ever, outliving
from sensors.imports.new_sensors import create_sensors, units_sent
from sensors.imports.report import Line, lines
from sensors.imports.turns import cancel, check, resume, run, take_turn
from sensors.imports.upload import forget_old, guess, receive

__all__ = [
    "Line",
    "cancel",
    "check",
    "create_sensors",
    "forget_old",
    "guess",
    "keep_for_ever",
    "lines",
    "outliving",
    "receive",
    "resume",
    "run",
    "take_turn",
    "units_sent",
]

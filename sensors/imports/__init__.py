"""Files of readings, from the upload to the last row: kept, looked at, mapped, checked, run."""

from sensors.imports.kept import keep_for_ever, outliving
from sensors.imports.new_sensors import create_sensors, units_sent
from sensors.imports.preview import times_read
from sensors.imports.report import Line, lines
from sensors.imports.turns import cancel, check, resume, run, stop_a_wrong_mapping, take_turn
from sensors.imports.upload import ask_for_room, forget_old, guess, receive

__all__ = [
    "Line",
    "ask_for_room",
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
    "stop_a_wrong_mapping",
    "take_turn",
    "times_read",
    "units_sent",
]

"""The checklist of a work order: its tasks as plans and classes of assets write them."""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

from maintenance.models import ChecklistItem, WorkOrder
from sensors.errors import Refused
from sensors.models import Sensor


class Choice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    bad: bool = False


class Task(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One task, as it is written before there is an order. `sensor` is a primary key; its reading is asked for."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=300)]
    kind: Literal["tick", "number", "reading", "photo", "choice"] = "tick"
    unit: Annotated[str, msgspec.Meta(max_length=20)] = ""
    low: float | None = None
    high: float | None = None
    sensor: int | None = None
    choices: Annotated[list[str | Choice], msgspec.Meta(max_length=20)] = []


Tasks = Annotated[list[Task], msgspec.Meta(max_length=100)]


def parsed(given: object) -> list[Task]:
    """The tasks of a checklist that came as lists and dicts; raises Refused (422) with what is wrong with which one."""
    try:
        tasks = msgspec.convert(given, Tasks)
    except msgspec.ValidationError as error:
        raise Refused("checklist_invalid", f"This is no checklist: {error}.", 422) from error
    for number, task in enumerate(tasks, 1):
        if wrong := _wrong_with(task):
            raise Refused("checklist_invalid", f"Task {number} ({task.text}) {wrong}.", 422)
    return tasks


def _wrong_with(task: Task) -> str:
    if task.low is not None and task.high is not None and task.low > task.high:
        return "has a lower limit above the upper one"
    if task.kind == "reading" and task.sensor is None:
        return "asks for a reading and names no sensor"
    if task.kind == "choice" and not task.choices:
        return "asks for a choice and offers none"
    return ""


def add_to(order: WorkOrder, tasks: Sequence[Task]) -> None:
    """Give a new order its checklist. Raises Refused (422) when a task asks for a sensor of another site."""
    asked = [task.sensor for task in tasks if task.sensor is not None]
    known = set(Sensor.objects.filter(pk__in=asked, asset__site=order.site_id).values_list("pk", flat=True))
    items = []
    for position, task in enumerate(tasks, 1):
        if task.sensor is not None and task.sensor not in known:
            raise Refused("checklist_sensor", f"The sensor of task {position} is none of {order.site}.", 422)
        choices = [Choice(choice) if isinstance(choice, str) else choice for choice in task.choices]
        about = msgspec.structs.asdict(task) | {"choices": msgspec.to_builtins(choices)}
        about["sensor_id"] = about.pop("sensor")
        items.append(ChecklistItem(order=order, position=position, **about))
    ChecklistItem.objects.bulk_create(items)

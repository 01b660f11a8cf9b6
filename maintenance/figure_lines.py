"""Figures as lines of a table: the one wording that the page, the files and the report share."""

from collections.abc import Iterator
from dataclasses import dataclass

from maintenance.figures import Figures, Reliability
from maintenance.models import WorkOrder
from sensors.export import Table

KINDS = dict(WorkOrder.Kind.choices) | {"": "of no stated kind"}


@dataclass(frozen=True)
class Line:
    """One figure; `of` is how many cases it stands on, `value` None where there is nothing to say."""

    group: str
    name: str
    value: float | None
    unit: str
    of: int | None = None

    @property
    def written(self) -> str:
        """For people. The same number as in the files, rounded.

        >>> Line("Work", "Cost", 1234.5, "EUR").written, Line("Work", "Planned share", 0.256, "share").written
        ('1,234.50 EUR', '25.6 %')
        """
        if self.value is None:
            return "–"
        if self.unit == "share":
            return f"{100 * self.value:.1f} %"
        if self.unit == "":
            return f"{self.value:,.0f}"
        return f"{self.value:,.2f} {self.unit}" if len(self.unit) == 3 else f"{self.value:,.1f} {self.unit}"


def lines(found: Figures) -> list[Line]:
    """Every figure, in the order they are shown."""
    return [*_failures(found), *_work(found), *_orders(found), *_stops(found)]


def reliability(found: Figures) -> list[Line]:
    """MTBF and MTTR of each class and each asset in which something failed."""
    return [
        line
        for group, rows in (("By class", found.by_class), ("By asset", found.by_asset))
        for row in rows
        for line in _of(group, row)
    ]


def table(found: Figures) -> Table:
    """All of it for a file: one figure a row."""
    rows = [*lines(found), *reliability(found)]

    def pieces() -> Iterator[list[list[object]]]:
        yield [
            [row.group for row in rows],
            [row.name for row in rows],
            [row.value for row in rows],
            [row.unit for row in rows],
            [row.of for row in rows],
        ]

    columns = {"group": "text", "figure": "text", "value": "number", "unit": "text", "of": "integer"}
    return Table("figures", columns, pieces, lambda: len(rows))  # type: ignore[arg-type]


def _of(group: str, row: Reliability) -> Iterator[Line]:
    yield Line(group, f"{row.name}: MTBF", row.mtbf_hours, "h", row.failures)
    yield Line(group, f"{row.name}: MTTR", row.mttr_hours, "h", row.repaired)


def _failures(found: Figures) -> Iterator[Line]:
    whole = found.whole
    yield Line("Failures", "Failures", whole.failures, "")
    yield Line("Failures", "Mean time between failures (MTBF)", whole.mtbf_hours, "h", whole.failures)
    yield Line("Failures", "Mean time to repair (MTTR)", whole.mttr_hours, "h", whole.repaired)


def _work(found: Figures) -> Iterator[Line]:
    total, currency = found.total, found.scope.site.currency
    yield Line("Work", "Jobs done", total.jobs, "")
    yield Line("Work", "Planned share", found.planned_share, "share", found.planned.jobs + found.unplanned.jobs)
    for kind, label in KINDS.items():
        if kind in found.work:
            yield Line("Work", f"Jobs {label.lower()}", found.work[kind].jobs, "")
    yield Line("Work", "Hours of work", total.hours, "h")
    yield Line("Work", "Cost", total.cost, currency)
    yield Line("Work", "Cost of unplanned work", found.unplanned.cost, currency)
    hours = found.hours
    yield Line("Work", "Hours estimated", hours.estimated, "h", hours.orders)
    yield Line("Work", "Hours actual", hours.actual, "h", hours.orders)


def _orders(found: Figures) -> Iterator[Line]:
    backlog, reaction = found.backlog, found.reaction
    yield Line("Orders", "Backlog", backlog.orders, "")
    yield Line("Orders", "Backlog, hours estimated", backlog.hours, "h", backlog.orders - backlog.unestimated)
    yield Line("Orders", "Overdue", backlog.overdue, "")
    to_order, to_repair = reaction.to_order, reaction.to_repair
    yield Line("Orders", "Anomaly to order, median", to_order and to_order / 3600, "h", reaction.orders)
    yield Line("Orders", "Anomaly to repair, median", to_repair and to_repair / 3600, "h", reaction.repaired)


def _stops(found: Figures) -> Iterator[Line]:
    yield Line("Downtime", "Downtime", found.total.downtime_hours, "h", sum(cause.jobs for cause in found.downtime))
    yield Line("Downtime", "Downtime avoided (estimate)", found.avoided.hours, "h", found.avoided.faults)

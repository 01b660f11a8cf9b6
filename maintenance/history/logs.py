"""A table of past work into the maintenance log.

A row is known by its `external_id`, or else by a digest of its cells and how many rows before it were alike, so that
the same file twice is one history. A block of rows is one transaction; what was stored stays when the import is
interrupted, and it can simply be started again.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import islice
from typing import IO, Any

from django.db import transaction

from maintenance.history import tables
from maintenance.history.mapping import Source, sources
from maintenance.history.tables import Broken, Refusals, Row
from maintenance.models import FailureMode, MaintenanceLog, Outcome, Verdict, WorkOrder
from sensors.errors import Refused
from sensors.formats.csv import Layout, TimeFormat
from sensors.models import Asset, Site
from sensors.wall_clock import in_our_time

BLOCK_ROWS = 2000
FIELDS = (
    *("asset", "completion_date", "notes", "kind", "failure_mode", "done_by_name", "duration_minutes"),
    *("downtime_minutes", "downtime_reason", "parts", "cost", "external_id"),
)
NEEDED = ("asset", "completion_date", "notes")
LONGEST_MINUTES = 525_600 * 5
DEAREST = 10**9
LIMITS = {"notes": 5000, "parts": 500, "downtime_reason": 200, "done_by_name": 100, "external_id": 100, "asset": 100}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Options:
    """How rows are to be understood.

    `fields` maps fields to columns. `kinds` turns what the file calls a kind into ours, "*" standing for all others;
    `kind` is that of every row. With `faults` each corrective row is a failure: it gets the verdict "fault found".
    `source` is the name that the history goes by.
    """

    fields: Mapping[str, str]
    source: str
    kind: str = ""
    kinds: Mapping[str, str] = field(default_factory=dict)
    faults: bool = False
    create_assets: bool = False
    create_failure_modes: bool = False
    timezone: tzinfo | None = None
    time_format: TimeFormat | None = None


@dataclass
class Report:
    """What became of a file."""

    rows: int = 0
    stored: int = 0
    duplicates: int = 0
    failures: int = 0
    new_assets: int = 0
    new_failure_modes: int = 0
    refusals: Refusals = field(default_factory=Refusals)

    def as_json(self) -> dict[str, Any]:
        counted = ("rows", "stored", "duplicates", "failures", "new_assets", "new_failure_modes")
        return {name: getattr(self, name) for name in counted} | tables.to_json(self.refusals)


@dataclass(frozen=True)
class _Entry:
    line: int
    asset: str
    mode: str
    log: MaintenanceLog


class _No(Exception):
    """Why a row is refused."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


def check(file: IO[bytes], site: Site, options: Options) -> Report:
    """What `store` would do; nothing is stored. Raises Refused."""
    with transaction.atomic():
        report = _run(file, site, options)
        transaction.set_rollback(True)
    return report


def store(file: IO[bytes], site: Site, options: Options) -> Report:
    """Bring the rows of `file` into the log of `site`. Raises Refused when the file or the options make no sense."""
    return _run(file, site, options)


def _run(file: IO[bytes], site: Site, options: Options) -> Report:
    layout = tables.layout_of(file)
    reader = _Reader(layout, options, site)
    importer = _Importer(site, options)
    found = tables.rows(file, layout)
    while block := list(islice(found, BLOCK_ROWS)):
        importer.store(reader.entries(block, importer.report))
    return importer.report


class _Reader:
    """Rows of text into log entries."""

    def __init__(self, layout: Layout, options: Options, site: Site) -> None:
        names = [column.name for column in layout.columns]
        self.sources = sources(options.fields, names, FIELDS)
        if missing := [name for name in NEEDED if name not in self.sources]:
            detail = f"Say which column is {missing[0]!r}; there are: {', '.join(names[:50])}."
            raise Refused("unknown_columns", detail, 400)
        for kind in (options.kind, *options.kinds.values()):
            if kind not in ("", *WorkOrder.Kind.values):
                raise Refused("unknown_kind", f"There is no kind {kind!r}; there are: {_kinds()}.", 400)
        self.options = options
        self.decimal = layout.decimal
        self.time_format = options.time_format or layout.time_format
        self.zone = options.timezone or site.timezone
        self.alike: dict[bytes, int] = {}

    def entries(self, block: Sequence[Row | Broken], report: Report) -> list[_Entry]:
        report.rows += len(block)
        rows = [row for row in block if isinstance(row, Row)]
        times = self._times([self.sources["completion_date"].of(row.cells) for row in rows])
        found = []
        for broken in block:
            if isinstance(broken, Broken):
                report.refusals.add(broken)
        for row, at in zip(rows, times, strict=True):
            try:
                found.append(self._entry(row, at))
            except _No as no:
                report.refusals.add(Broken(row.line, no.code, str(no)))
        return found

    def _times(self, texts: list[str]) -> list[datetime | None]:
        from sensors.formats.csv.arrow import pa
        from sensors.formats.csv.times import parse_times

        times = parse_times(pa.array(texts, pa.string()), self.time_format)
        moments: list[datetime | None] = []
        for us, zoned, bad in zip(times.us.tolist(), times.zoned.tolist(), times.bad.tolist(), strict=True):
            at = None if bad else EPOCH + timedelta(microseconds=us)
            if at and not zoned and in_our_time(at):
                at = at.replace(tzinfo=self.zone).astimezone(UTC)
            moments.append(at)
        return moments

    def _entry(self, row: Row, at: datetime | None) -> _Entry:
        said = {name: source.of(row.cells) for name, source in self.sources.items()}
        for name, most in LIMITS.items():
            if len(said.get(name, "")) > most:
                raise _No("too_long", f"`{name}` may have {most} characters and has {len(said[name])}.")
        for name in NEEDED:
            if not said[name]:
                raise _No("missing", f"`{name}` is empty.")
        if at is None or not in_our_time(at):
            raise _No("invalid_time", f"{said['completion_date'][:50]!r} is no time of the years 1980 to 2199.")
        log = MaintenanceLog(
            completion_date=at,
            notes=said["notes"],
            kind=self._kind(said),
            duration_minutes=self._minutes(said, "duration_minutes"),
            downtime_minutes=self._minutes(said, "downtime_minutes"),
            # A cost below zero is a credit.
            cost=self._number(said, "cost", -DEAREST, DEAREST),
            source=self.options.source,
            external_id=said.get("external_id") or self._digest(row),
            **{name: said.get(name, "") for name in ("done_by_name", "downtime_reason", "parts")},
        )
        return _Entry(row.line, said["asset"], said.get("failure_mode", ""), log)

    def _kind(self, said: dict[str, str]) -> str:
        text = said.get("kind", "")
        if "kind" not in self.sources:
            return self.options.kind
        known = self.options.kinds.get(text, self.options.kinds.get("*"))
        if known is None:
            known = text.lower().replace(" ", "_").replace("-", "_")
        if known not in ("", *WorkOrder.Kind.values):
            raise _No("unknown_kind", f"{text[:50]!r} is no kind; say what it is among {_kinds()}.")
        return known

    def _number(self, said: dict[str, str], name: str, least: float, most: float) -> float | None:
        text = said.get(name, "")
        if not text:
            return None
        try:
            value = float(text.replace(",", ".") if self.decimal == "," else text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            raise _No("invalid_number", f"`{name}` {text[:50]!r} is no number from {least:,} to {most:,}.")
        return value

    def _minutes(self, said: dict[str, str], name: str) -> int | None:
        value = self._number(said, name, 0, LONGEST_MINUTES)
        return None if value is None else round(value)

    def _digest(self, row: Row) -> str:
        digest = hashlib.sha256("\x1f".join(row.cells).encode()).digest()
        self.alike[digest] = before = self.alike.get(digest, -1) + 1
        return f"{digest.hex()}-{before}" if before else digest.hex()


class _Importer:
    """Log entries into the database, a block at a time."""

    def __init__(self, site: Site, options: Options) -> None:
        self.site = site
        self.options = options
        self.report = Report()

    def store(self, entries: list[_Entry]) -> None:
        with transaction.atomic():
            # Two imports of the same file at once: the second one sees what the first one stored.
            Site.objects.select_for_update(no_key=True).get(pk=self.site.pk)
            placed = list(self._placed(entries))
            known = self._known(placed)
            new: list[MaintenanceLog] = []
            for entry in placed:
                key = (entry.log.asset_id, entry.log.external_id)
                self.report.duplicates += key in known
                if key not in known:
                    known.add(key)
                    new.append(entry.log)
            MaintenanceLog.objects.bulk_create(new)
            failed = [log for log in new if self.options.faults and log.kind == WorkOrder.Kind.CORRECTIVE]
            Verdict.objects.bulk_create(map(_verdict, failed))
        self.report.stored += len(new)
        self.report.failures += len(failed)

    def _placed(self, entries: list[_Entry]) -> Iterator[_Entry]:
        """Those whose asset and failure mode there are, or may be created."""
        assets = self._assets({entry.asset for entry in entries})
        modes = self._modes({entry.mode for entry in entries if entry.mode})
        for entry in entries:
            asset = assets.get(entry.asset)
            if asset is None:
                detail = f"{self.site} has no asset {entry.asset!r}."
                self.report.refusals.add(Broken(entry.line, "unknown_asset", detail))
                continue
            mode = modes.get((asset.asset_class_id, entry.mode.lower())) or modes.get((None, entry.mode.lower()))
            if entry.mode and mode is None:
                detail = f"{asset} has no failure mode {entry.mode!r}."
                self.report.refusals.add(Broken(entry.line, "unknown_failure_mode", detail))
                continue
            entry.log.asset, entry.log.failure_mode = asset, mode
            yield entry

    def _assets(self, names: set[str]) -> dict[str, Asset]:
        known = {asset.name: asset for asset in Asset.objects.filter(site=self.site, name__in=names)}
        if self.options.create_assets and (new := sorted(names - known.keys())):
            made = Asset.objects.bulk_create(Asset(site=self.site, name=name) for name in new)
            self.report.new_assets += len(made)
            known |= {asset.name: asset for asset in made}
        return known

    def _modes(self, names: set[str]) -> dict[tuple[int | None, str], FailureMode]:
        """By class and by code or name, in small letters."""
        if not names:
            return {}
        modes = list(FailureMode.objects.all())
        found = {(mode.asset_class_id, text.lower()): mode for mode in modes for text in (mode.name, mode.code)}
        if self.options.create_failure_modes:
            anywhere = {name for _, name in found}
            for name in sorted({name.lower(): name for name in names if name.lower() not in anywhere}.values()):
                mode, created = FailureMode.objects.get_or_create(
                    asset_class=None, code=name[:20], defaults={"name": name[:100]}
                )
                self.report.new_failure_modes += created
                found[None, name.lower()] = mode
        return found

    def _known(self, entries: list[_Entry]) -> set[tuple[int, str]]:
        """Which of them the log has already, by asset and number."""
        had = MaintenanceLog.objects.filter(
            source=self.options.source,
            asset__in={entry.log.asset_id for entry in entries},
            external_id__in=[entry.log.external_id for entry in entries],
        )
        return set(had.values_list("asset_id", "external_id"))


def _verdict(log: MaintenanceLog) -> Verdict:
    """The asset was broken for as long as it stood still, as far as anybody noted it."""
    broken = timedelta(minutes=log.downtime_minutes or 0)
    return Verdict(
        asset_id=log.asset_id,
        log=log,
        outcome=Outcome.FAULT_FOUND,
        failure_mode_id=log.failure_mode_id,
        window_start=log.completion_date - broken,
        window_end=log.completion_date,
    )


def _kinds() -> str:
    return ", ".join(WorkOrder.Kind.values)


__all__ = ["FIELDS", "Options", "Report", "Source", "check", "store"]

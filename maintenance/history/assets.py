"""A table of machines into the asset tree."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

from django.core.exceptions import ValidationError
from django.db import transaction

from maintenance.history import tables
from maintenance.history.mapping import Source, source, sources
from maintenance.history.tables import Broken, Refusals, Row
from sensors.errors import Refused
from sensors.models import Asset, AssetClass, Sensor, Site

FIELDS = ("name", "parent", "class", "level", "criticality", "description")


@dataclass(frozen=True)
class NewSensor:
    """A sensor of every asset: its key, of the row's columns, and what it measures."""

    sensor_id: str
    kind: str
    unit: str


@dataclass(frozen=True)
class Options:
    """`fields` maps fields to columns; each asset gets `components`, called after it and each of the class so named."""

    fields: Mapping[str, str]
    level: str = Asset.Level.MACHINE
    components: Sequence[str] = ()
    sensors: Sequence[NewSensor] = ()


@dataclass
class Report:
    rows: int = 0
    created: int = 0
    known: int = 0
    components: int = 0
    sensors: int = 0
    refusals: Refusals = field(default_factory=Refusals)

    def as_json(self) -> dict[str, Any]:
        counted = ("rows", "created", "known", "components", "sensors")
        return {name: getattr(self, name) for name in counted} | tables.to_json(self.refusals)


def check(file: IO[bytes], site: Site, options: Options) -> Report:
    """What `store` would do; nothing is stored. Raises Refused."""
    with transaction.atomic():
        report = store(file, site, options)
        transaction.set_rollback(True)
    return report


@transaction.atomic
def store(file: IO[bytes], site: Site, options: Options) -> Report:
    """Create the assets of `file` that the site does not have yet; those it has stay as they are.

    Raises Refused when the file or the options make no sense.
    """
    layout = tables.layout_of(file)
    importer = _Importer(site, options, [column.name for column in layout.columns])
    for row in tables.rows(file, layout):
        importer.report.rows += 1
        if isinstance(row, Broken):
            importer.report.refusals.add(row)
            continue
        try:
            with transaction.atomic():
                importer.add(row)
        except ValidationError as error:
            importer.report.refusals.add(Broken(row.line, "invalid", " ".join(error.messages)))
    return importer.report


class _Importer:
    def __init__(self, site: Site, options: Options, names: list[str]) -> None:
        self.sources = sources(options.fields, names, FIELDS)
        if "name" not in self.sources:
            raise Refused("unknown_columns", f"Say which column is 'name'; there are: {', '.join(names[:50])}.", 400)
        self.keys: list[tuple[Source, NewSensor]] = [(source(new.sensor_id, names), new) for new in options.sensors]
        self.site, self.options, self.report = site, options, Report()

    def add(self, row: Row) -> None:
        """Raises ValidationError when the row makes no asset."""
        said = {name: source.of(row.cells) for name, source in self.sources.items()}
        asset = Asset.objects.filter(site=self.site, name=said["name"]).first()
        created = asset is None
        if asset is None:
            asset = Asset(site=self.site, name=said["name"], level=said.get("level", "").lower() or self.options.level)
            asset.description = said.get("description", "")
            asset.asset_class = self._class(said.get("class", ""))
            asset.parent = self._parent(said.get("parent", ""))
            if said.get("criticality"):
                asset.criticality = _criticality(said["criticality"])
            asset.full_clean()
            asset.save()
        components = sum(self._component(asset, name) for name in self.options.components)
        sensors = sum(self._sensor(asset, key.of(row.cells), new) for key, new in self.keys)
        self.report.created += created
        self.report.known += not created
        self.report.components += components
        self.report.sensors += sensors

    def _class(self, name: str) -> AssetClass | None:
        if not name:
            return None
        return AssetClass.objects.get_or_create(name=name[:100])[0]

    def _parent(self, name: str) -> Asset | None:
        if not name:
            return None
        parent: Asset | None = Asset.objects.filter(site=self.site, name=name).first()
        if parent is None:
            raise ValidationError(f"{self.site} has no asset {name!r} to be the parent.")
        return parent

    def _component(self, asset: Asset, name: str) -> bool:
        about = {"parent": asset, "level": Asset.Level.COMPONENT, "asset_class": self._class(name)}
        full = f"{asset.name} {name}"
        if Asset.objects.filter(site=self.site, name=full).exists():
            return False
        component = Asset(site=self.site, name=full, **about)
        component.full_clean()
        component.save()
        return True

    def _sensor(self, asset: Asset, sensor_id: str, new: NewSensor) -> bool:
        if Sensor.objects.filter(site=self.site, sensor_id=sensor_id).exists():
            return False
        sensor = Sensor(asset=asset, site=self.site, sensor_id=sensor_id, kind=new.kind, unit=new.unit)
        sensor.full_clean()
        sensor.save()
        return True


def _criticality(said: str) -> int:
    known = {label.lower(): value for value, label in Asset.Criticality.choices}
    known |= {str(value): value for value in known.values()}
    if said.lower() not in known:
        raise ValidationError(f"There is no criticality {said!r}.")
    return known[said.lower()]

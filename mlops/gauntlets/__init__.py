"""Published data sets, each run through the product's own features, detectors and models under a fixed protocol.

Gates and protocols are those of docs/benchmarks.md. A gauntlet is a module with `run(data: Path) -> Result`.
"""

import hashlib
import json
import operator
import platform
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

NAMES = ("ai4i", "pump_table", "nab", "skab", "univariate", "validation", "synthetic")
PACKAGES = ("numpy", "scipy", "pandas", "scikit-learn", "lightgbm", "TSB-AD")

Number = float | int


@dataclass(frozen=True)
class Gate:
    """A figure that must be reached. `goal` reads as it would be said: ">= 0.885", "<= 6"."""

    name: str
    value: Number
    goal: str

    @property
    def holds(self) -> bool:
        relation, bound = self.goal.split()
        compare: Callable[[Number, Number], bool] = {">=": operator.ge, "<=": operator.le}[relation]
        return bool(compare(self.value, float(bound)))


@dataclass(frozen=True)
class Result:
    """What a gauntlet measured. `data` names the files by their SHA-256; `metrics` and `baselines` are
    {row: {column: number}}: ours, and the trivial or published ones under the same protocol. `notes` are sentences.
    `seeds`: everything drawn was drawn with these.
    """

    name: str
    data: dict[str, str]
    metrics: dict[str, dict[str, Number]]
    baselines: dict[str, dict[str, Number]]
    gates: list[Gate]
    notes: list[str] = field(default_factory=list)
    seeds: tuple[int, ...] = (0,)

    @property
    def data_sha256(self) -> str:
        """Of the names and hashes of all files."""
        return hashlib.sha256(json.dumps(self.data, sort_keys=True).encode()).hexdigest()

    def as_json(self) -> dict[str, Any]:
        gates = [{"name": g.name, "value": g.value, "goal": g.goal, "holds": g.holds} for g in self.gates]
        return {
            "name": self.name,
            "data": self.data,
            "metrics": self.metrics,
            "baselines": self.baselines,
            "gates": gates,
            "notes": self.notes,
            "seeds": self.seeds,
            "versions": versions(),
        }


def versions() -> dict[str, str]:
    """Of what the figures hang on: Python and the packages that compute, those that are installed."""
    found = {"Python": platform.python_version()}
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def run(name: str, data: Path) -> Result:
    """Run a gauntlet on the set folders in `data`.

    Raises FileNotFoundError where its files are missing.
    """
    result: Result = import_module(f"mlops.gauntlets.{name}").run(data)
    return result


def fingerprints(paths: Iterable[Path]) -> dict[str, str]:
    """The SHA-256 of each file, by its name."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(paths)}

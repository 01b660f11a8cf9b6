import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandError

from mlops import gauntlets
from mlops.gauntlets import Result, report, tracking


class Command(BaseCommand):
    help = (
        "Runs a published data set through the platform's own features, detectors and models, and prints our figures "
        "beside trivial and published ones. Ends with an error when a gate does not hold. Every run is registered in "
        "MLflow, in the experiment gauntlets, where MLflow answers."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", choices=[*gauntlets.NAMES, "all"])
        parser.add_argument(
            "--data",
            type=Path,
            default=Path("data"),
            help="The folder that holds the folders of the sets (ai4i2020, nab, ...).",
        )
        parser.add_argument("--json", action="store_true", help="Print JSON: one object, or a list of them for all.")

    def handle(self, *args: Any, name: str, data: Path, **options: Any) -> None:
        names = gauntlets.NAMES if name == "all" else (name,)
        results = [self._run(each, data, options["json"]) for each in names]
        if options["json"]:
            found = [result.as_json() for result in results]
            self.stdout.write(json.dumps(found if name == "all" else found[0], indent=2))
        if name == "all":
            (settings.BASE_DIR / "docs" / "benchmarks.md").write_text(report.document(results))
        missed = [f"{result.name}: {gate.name}" for result in results for gate in result.gates if not gate.holds]
        if missed:
            raise CommandError("Gates that do not hold: " + "; ".join(missed))

    def _run(self, name: str, data: Path, quiet: bool) -> Result:
        try:
            result = gauntlets.run(name, data)
        except FileNotFoundError as error:
            raise CommandError(f"{error.filename or error} is missing; --data names the folder of the sets.") from error
        if not quiet:
            self.stdout.write(report.table(result))
        self.stderr.write(tracking.register(result))
        return result

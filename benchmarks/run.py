"""`make bench` runs every benchmark, `make bench ONLY=ingest` one. Prints a table and writes benchmarks/results.json.

Each benchmark starts a platform of its own in a temporary directory; the user's data is never touched.
"""

import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from benchmarks import (
    alarm_load,
    alerts,
    burst,
    formats,
    ingest,
    latency,
    limits,
    live,
    mqtt,
    path,
    predict,
    scoring,
    storage,
    workshop,
)

BENCHMARKS = {
    "path": path.run,
    "ingest": ingest.run,
    "single": ingest.run_single,
    "scored": ingest.run_scored,
    "scoring": scoring.run,
    "latency": latency.run,
    "limits": limits.run,
    "formats": formats.run,
    "import": formats.run_import,
    "mqtt": mqtt.run,
    "growth": ingest.run_growth,
    "storage": storage.run,
    "predict": predict.run,
    "alerts": alerts.run,
    "live": live.run,
    "alarm_load": alarm_load.run,
    "burst": burst.run,
    "workshop": workshop.run,
}
RESULTS = Path(__file__).with_name("results.json")


def main() -> int:
    only = os.environ.get("ONLY", "")
    if only and only not in BENCHMARKS:
        print(f"There is no benchmark {only!r}; there are: {', '.join(BENCHMARKS)}.", file=sys.stderr)
        return 2
    rows = []
    # Each in a process of its own: Django takes its settings, and so the platform's address, once.
    with ProcessPoolExecutor(1, max_tasks_per_child=1) as processes:
        for name, run in BENCHMARKS.items():
            if only in ("", name):
                for row in processes.submit(run).result():
                    rows.append(row)
                    _print(row)
    RESULTS.write_text(json.dumps(rows, indent=2))
    return 0 if all(row["holds"] for row in rows) else 1


def _print(row: dict[str, object]) -> None:
    goal = "" if row["goal"] is None else f"goal {row['goal']:,}: {'holds' if row['holds'] else 'MISSED'}"
    ratio = f"{row['ratio']:.0%} of {row['baseline']:,}" if row.get("ratio") else ""
    print(f"{row['name']:46} {row['value']:>12,} {row['unit']:11} {ratio:20} {goal}", flush=True)


if __name__ == "__main__":
    sys.exit(main())

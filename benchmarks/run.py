"""`make bench` runs every benchmark, `make bench ONLY=path` one. Prints a table and writes benchmarks/results.json.

Each benchmark starts a platform of its own in a temporary directory; the user's data is never touched.
"""

import json
import os
import sys
from pathlib import Path

from benchmarks import path

BENCHMARKS = {"path": path.run}
RESULTS = Path(__file__).with_name("results.json")


def main() -> int:
    only = os.environ.get("ONLY", "")
    if only and only not in BENCHMARKS:
        print(f"There is no benchmark {only!r}; there are: {', '.join(BENCHMARKS)}.", file=sys.stderr)
        return 2
    rows = [row for name, run in BENCHMARKS.items() if only in ("", name) for row in run()]
    for row in rows:
        goal = "" if row["goal"] is None else f"goal {row['goal']}: {'holds' if row['holds'] else 'MISSED'}"
        print(f"{row['name']:40} {row['value']!s:>10} {row['unit']:10} {goal}")
    RESULTS.write_text(json.dumps(rows, indent=2))
    return 0 if all(row["holds"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())

"""Results of gauntlets as text: a table on the terminal, a page in docs/benchmarks.md."""

from collections.abc import Iterable

from mlops.gauntlets import Number, Result, versions

_INTRODUCTION = """# Benchmarks

Written by `manage.py gauntlet all --data DIR`. Every figure comes from the platform's own features, detectors and
models; the rows below ours are trivial or published ones under the same protocol. A gate is a figure that must be
reached.
"""


def table(result: Result) -> str:
    """The figures and gates of one result, as Markdown that reads well on a terminal."""
    rows = [*result.metrics.items(), *result.baselines.items()]
    columns = list(dict.fromkeys(column for _, figures in rows for column in figures))
    lines = [f"## {result.name}", "", *_markdown(["", *columns], ([name, *_cells(f, columns)] for name, f in rows))]
    gates = ([gate.name, _number(gate.value), gate.goal, "yes" if gate.holds else "NO"] for gate in result.gates)
    lines += ["", *_markdown(["gate", "value", "goal", "holds"], gates)]
    return "\n".join([*lines, *(f"\n{note}" for note in result.notes), ""])


def document(results: Iterable[Result]) -> str:
    with_what = ", ".join(f"{package} {version}" for package, version in versions().items())
    return "\n".join([_INTRODUCTION, f"Measured with {with_what}.\n", *(_section(result) for result in results)])


def _section(result: Result) -> str:
    drawn = f"Drawn with the seeds {', '.join(map(str, result.seeds))}."
    files = f"Files: {len(result.data)}, SHA-256 of their names and hashes {result.data_sha256[:16]}. "
    return f"{table(result)}\n{files if result.data else ''}{drawn}\n"


def _cells(figures: dict[str, Number], columns: list[str]) -> list[str]:
    return [_number(figures[column]) if column in figures else "" for column in columns]


def _number(value: Number) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _markdown(header: list[str], rows: Iterable[list[str]]) -> list[str]:
    cells = [header, *rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |" for row in cells]
    return [lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]]

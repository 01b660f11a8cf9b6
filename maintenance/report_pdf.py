"""The figures of a site as a PDF, charts included. reportlab is loaded when a report is made."""

from functools import cache
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from maintenance import figure_lines
from maintenance.figure_views import charts
from maintenance.figures import ENOUGH_PAST, Figures, Reliability
from sensors.wording import exact_clock

# DejaVu, which matplotlib brings along, has the signs of most languages of Europe; PDF's own fonts only Latin ones.
FONT, BOLD = "DejaVuSans", "DejaVuSans-Bold"
COLORS = {"Planned": "#4c88d1", "Unplanned": "#d2362e", "Failures": "#d2362e", "Hours": "#e17c1c"}
MOST_ROWS = 40
MOST_BARS = 24
LONGEST_NAME = 14


def pdf(found: Figures) -> bytes:
    """One document: every line of the figures as the page words it, its charts, and how the figures are meant."""
    from reportlab.lib.pagesizes import A4
    from reportlab.platypus import SimpleDocTemplate

    _fonts()
    file = BytesIO()
    site = found.scope.site
    document = SimpleDocTemplate(
        file, pagesize=A4, title=f"Maintenance of {found.whole.name}", author="Smart Maintenance", leftMargin=50
    )
    ends = [exact_clock(at, site.timezone)[:16] for at in (found.period.start, found.period.end)]
    story = [
        _text(f"Maintenance of {found.whole.name}", size=18),
        _text(f"{ends[0]} to {ends[1]}, times in {site.timezone}", size=9),
    ]
    groups: dict[str, list[figure_lines.Line]] = {}
    for line in figure_lines.lines(found):
        groups.setdefault(line.group, []).append(line)
    for group, lines in groups.items():
        rows = [[line.name, line.written, "" if line.of is None else f"{line.of:,}"] for line in lines]
        story += [_text(group, size=12), _table(["Figure", "Value", "Of cases"], rows, [270, 130, 90])]
    story.append(_text(_assumptions(found), size=8))
    for title, bars in charts(found):
        story += _chart(title, bars)
    story += [*_reliability("By class of assets", found.by_class), *_reliability("By asset", found.by_asset)]
    document.build(story)
    return file.getvalue()


@cache
def _fonts() -> None:
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.ttfonts import TTFont

    found = find_spec("matplotlib")
    assert found is not None
    assert found.origin is not None
    folder = Path(found.origin).parent / "mpl-data/fonts/ttf"
    for name in (FONT, BOLD):
        pdfmetrics.registerFont(TTFont(name, str(folder / f"{name}.ttf")))


def _text(words: str, *, size: int) -> Any:
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.platypus import Paragraph

    large = size > 10
    style = ParagraphStyle(
        f"of {size}",
        fontName=BOLD if large else FONT,
        fontSize=size,
        leading=size * 1.3,
        spaceBefore=10 if large else 2,
        spaceAfter=4,
    )
    return Paragraph(escape(words), style)


def _table(names: list[str], rows: list[list[str]], widths: list[int]) -> Any:
    from reportlab.lib.colors import HexColor
    from reportlab.platypus import Table, TableStyle

    cells = [[_text(row[0], size=9), *row[1:]] for row in rows]
    style = [
        ("FONT", (0, 0), (-1, -1), FONT, 9),
        ("FONT", (0, 0), (-1, 0), BOLD, 9),
        ("ALIGN", (1, 0), (-1, -1), "RIGHT"),
        ("LINEBELOW", (0, 0), (-1, -1), 0.5, HexColor("#dbe2e8")),
        ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
    ]
    return Table([names, *cells], colWidths=widths, repeatRows=1, style=TableStyle(style), hAlign="LEFT")


def _chart(title: str, bars: dict[str, Any]) -> list[Any]:
    """The newest, or largest, of what is charted; nothing where there is nothing."""
    from reportlab.graphics.charts.barcharts import VerticalBarChart
    from reportlab.graphics.shapes import Drawing
    from reportlab.lib.colors import HexColor
    from reportlab.platypus import KeepTogether

    series = bars["series"]
    # Months: the newest ones. Causes: the first ones, which are the largest.
    part = slice(-MOST_BARS, None) if "by month" in title else slice(0, MOST_BARS)
    names = [name[:LONGEST_NAME] for name in bars["names"][part]]
    if not names:
        return []
    drawing = Drawing(490, 190)
    chart = VerticalBarChart()
    chart.x, chart.y, chart.width, chart.height = 45, 55, 440, 120
    chart.data = [[float(value) for value in values[part]] for values in series.values()]
    chart.categoryAxis.categoryNames = names
    chart.categoryAxis.style = "stacked"
    chart.categoryAxis.labels.fontName = chart.valueAxis.labels.fontName = FONT
    chart.categoryAxis.labels.fontSize = chart.valueAxis.labels.fontSize = 7
    chart.categoryAxis.labels.angle = 40
    chart.categoryAxis.labels.boxAnchor = "ne"
    chart.valueAxis.valueMin = 0
    for number, name in enumerate(series):
        chart.bars[number].fillColor = HexColor(COLORS[name])
        chart.bars[number].strokeColor = None
    drawing.add(chart)
    legend = ", ".join(f"{name} ({_color(name)})" for name in series) if len(series) > 1 else ""
    unit = f", {bars['unit']}" if bars["unit"] else ""
    words = [_text(f"{title}{unit}", size=12), *([_text(legend, size=8)] if legend else []), drawing]
    return [KeepTogether(words)]


def _color(name: str) -> str:
    return {"Planned": "blue", "Unplanned": "red"}.get(name, "")


def _reliability(title: str, rows: list[Reliability]) -> list[Any]:
    if not rows:
        return []
    cells = [
        [
            row.name,
            f"{row.assets:,}",
            f"{row.failures:,}",
            "–" if row.mtbf_hours is None else f"{row.mtbf_hours:,.1f}",
            "–" if row.mttr_hours is None else f"{row.mttr_hours:,.1f}",
        ]
        for row in rows[:MOST_ROWS]
    ]
    names = ["Name", "Assets", "Failures", "MTBF, h", "MTTR, h"]
    more = [_text(f"and {len(rows) - MOST_ROWS} more in the files", size=8)] if len(rows) > MOST_ROWS else []
    return [_text(title, size=12), _table(names, cells, [210, 60, 70, 75, 75]), *more]


def _assumptions(found: Figures) -> str:
    avoided = found.avoided
    return (
        "A failure is a verdict “fault found”, one per order or log entry. MTBF is operating time by failures; MTTR "
        "runs from start to done, waiting included. Corrective work is unplanned; preventive and condition-based work "
        "is planned. The backlog is that of the day the report was made. Downtime avoided is an estimate: the median "
        f"of at least {ENOUGH_PAST} earlier failures of the same kind that no alert foretold, less the downtime noted; "
        f"{avoided.unstated} without a noted downtime and {avoided.without_past} without a past are not in it."
    )

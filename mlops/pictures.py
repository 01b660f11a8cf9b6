"""The plots of a model version's page, drawn as SVG from its card (mlops.cards). Colours come from the page's style."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, tzinfo
from html import escape
from typing import Any

from django.utils.safestring import SafeString

WIDTH, HEIGHT = 400, 210
# Of the frame, in the same units.
LEFT, RIGHT, TOP, BOTTOM = 50, 390, 10, 168
# Scores are shown up to so many limits; what is higher touches the top.
HIGHEST_SCORE = 3.0
LARGEST_DOT = 8.0

Ticks = Iterable[tuple[float, str]]


def of_card(card: dict[str, Any], zone: tzinfo) -> list[tuple[str, SafeString]]:
    """Each with what it shows in words."""
    if told := card.get("scores"):
        count, days = len(told["false"]), card["days"]
        words = f"{count} false event{'' if count == 1 else 's'} in the {days:.1f} days that were held back"
        return [(words, _scores(told, zone))]
    if cells := card.get("confusion"):
        so, said = cells["said_and_so"] + cells["not_said_and_so"], cells["said_and_so"] + cells["said_and_not_so"]
        rows = sum(cells.values())
        used = (cells["said_and_so"] / max(so, 1), cells["said_and_so"] / max(said, 1))
        return [
            (
                "The dot is the threshold in use, the dashed line chance",
                _precision_recall(card, used, so / max(rows, 1)),
            ),
            ("Dots on the dashed line are honest; large ones stand for many rows", _reliability(card["reliability"])),
        ]
    return []


def _scores(told: dict[str, Any], zone: tzinfo) -> SafeString:
    """Scores of the held-back time in limits, with what was a false event shaded."""
    first: float = told["times"][0]
    last: float = max(told["until"], first + 1)

    def x(seconds: float) -> float:
        return (seconds - first) / (last - first)

    ends = [*told["times"][1:], last]
    steps = zip(told["times"], ends, told["scores"], strict=True)
    line = [(x(at), min(score, HIGHEST_SCORE) / HIGHEST_SCORE) for begin, end, score in steps for at in (begin, end)]
    false = "".join(_shade(x(begin), x(end)) for begin, end in told["false"])
    days = [
        (place, f"{datetime.fromtimestamp(first + place * (last - first), UTC).astimezone(zone):%d %b %H:%M}")
        for place in (0.0, 0.5, 1.0)
    ]
    limit = _line([(0, 1 / HIGHEST_SCORE), (1, 1 / HIGHEST_SCORE)], "limit")
    heights = [(0.0, "0"), (1 / HIGHEST_SCORE, "limit"), (2 / HIGHEST_SCORE, "2 ×"), (1.0, "3 ×")]
    return _plot("Score of the held-back readings", false + _line(line, "line") + limit, days, heights)


def _precision_recall(card: dict[str, Any], threshold: tuple[float, float], share: float) -> SafeString:
    """`threshold`: recall and precision the model is used at; `share`: precision by chance."""
    curve = _line([(recall, precision) for recall, precision in card["precision_recall"]], "line")
    parts = _line([(0, share), (1, share)], "limit") + curve + _dot(*threshold, 5.0)
    return _plot("Precision (up) by recall (right)", parts, _shares(), _shares())


def _reliability(bins: Sequence[Sequence[float]]) -> SafeString:
    """`bins`: mean probability said, share that came true, number of rows."""
    most = max(rows for _, _, rows in bins)
    dots = "".join(
        _dot(said, came_true, max(2.0, LARGEST_DOT * (rows / most) ** 0.5)) for said, came_true, rows in bins
    )
    parts = _line([(0, 0), (1, 1)], "limit") + dots
    return _plot("What came true (up) by the probability said (right)", parts, _shares(), _shares())


def _plot(title: str, parts: str, across: Ticks, up: Ticks) -> SafeString:
    frame = f'<path class="frame" d="M{LEFT} {TOP}V{BOTTOM}H{RIGHT}"/>'
    anchors = {0.0: "start", 1.0: "end"}
    words = [_text(_x(x), BOTTOM + 16, label, anchors.get(x, "middle")) for x, label in across]
    words += [_text(LEFT - 5, _y(y) + 4, label, "end") for y, label in up]
    words.append(_text((LEFT + RIGHT) / 2, HEIGHT - 6, title, "middle"))
    return SafeString(
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"{parts}{frame}{''.join(words)}</svg>"
    )


def _line(points: Iterable[tuple[float, float]], name: str) -> str:
    path = " ".join(f"{_x(x):.1f},{_y(y):.1f}" for x, y in points)
    return f'<polyline class="{name}" points="{path}"/>'


def _dot(x: float, y: float, radius: float) -> str:
    return f'<circle class="dot" cx="{_x(x):.1f}" cy="{_y(y):.1f}" r="{radius:.1f}"/>'


def _shade(begin: float, end: float) -> str:
    """A stretch of time, wide enough to be seen."""
    left, width = _x(begin), max(_x(end) - _x(begin), 2.0)
    return f'<rect class="false" x="{left:.1f}" y="{TOP}" width="{width:.1f}" height="{BOTTOM - TOP}"/>'


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{escape(words)}</text>'


def _shares() -> Ticks:
    return [(0.0, "0"), (0.5, "50 %"), (1.0, "100 %")]


def _x(share: float) -> float:
    return LEFT + share * (RIGHT - LEFT)


def _y(share: float) -> float:
    return BOTTOM - share * (BOTTOM - TOP)


def of_repair(chart: dict[str, Any], zone: tzinfo) -> SafeString:
    """A signal around a job: its hourly medians, what was usual, and the time of the work shaded."""
    times: list[float] = chart["times"]
    values, (began, ended) = chart["values"], chart["work"]
    first, last = times[0], max(times[-1], times[0] + 1)
    low, high = min([*values, chart["usual"]]), max([*values, chart["usual"]])
    height = (high - low) or 1.0

    def x(seconds: float) -> float:
        return min(max((seconds - first) / (last - first), 0.0), 1.0)

    line = [(x(at), (value - low) / height) for at, value in zip(times, values, strict=True)]
    usual = (chart["usual"] - low) / height
    parts = _shade(x(began), x(ended)) + _line([(0, usual), (1, usual)], "limit") + _line(line, "line")
    days = [
        (place, f"{datetime.fromtimestamp(first + place * (last - first), UTC).astimezone(zone):%d %b %H:%M}")
        for place in (0.0, 0.5, 1.0)
    ]
    return _plot(chart["title"], parts, days, [(0.0, f"{low:.4g}"), (1.0, f"{high:.4g}")])

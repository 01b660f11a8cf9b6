"""Why a model said what it said: what each feature adds to the answer, as numbers and as a picture.

Contributions are Shapley values (Lundberg and Lee, 2017, "A Unified Approach to Interpreting Model Predictions"):
`base` + the sum of a row's contributions is the model's answer. SHAP and the models' libraries are imported where they
are used, so that the web process may draw pictures without them.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pandas import DataFrame

    from mlops.classifiers import FailureClassifier

Values = NDArray[np.float64]
Predict = Callable[[Values], Values]

# A sampled explanation asks the model once per coalition of features and row of the background.
BACKGROUND_ROWS = 20
MOST_COALITIONS = 2_000
# Nearer to each other than this, two answers have no slope to measure between them.
SMALLEST_STEP = 1e-9
# Of the picture, in its own units: as wide as a phone's page, with room for a name beside its value.
BAR_WIDTH, BAR_HEIGHT, LONGEST_NAME = 360, 36, 36

# Building an explainer parses every tree of a forest, which takes longer than using it (shap/shap#5121).
_explainers: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()


@dataclass(frozen=True)
class Explanation:
    """What each feature adds to a model's answer.

    `base`: the answer when nothing is known. `contributions`: shape (n, features), in the unit of the answer.
    `answers`: shape (n,), `base` plus the sum of the row's contributions.
    """

    features: tuple[str, ...]
    base: float
    contributions: Values
    answers: Values

    def by_feature(self, row: int = 0) -> dict[str, float]:
        """The contributions to one answer, largest first, whatever their sign."""
        order = np.argsort(-np.abs(self.contributions[row]), kind="stable")
        return {self.features[i]: float(self.contributions[row, i]) for i in order}


def explain(model: "FailureClassifier", frame: "DataFrame") -> Explanation:
    """What each feature adds to the calibrated probability of a failure, for each row of `frame`.

    Exact for the members' own answers; those are carried through their mean and the calibration by the rescale rule
    (Chen, Lundberg and Lee, 2022, "Explaining a series of models by propagating Shapley values"), which keeps sums.
    Raises mlops.features.columns.ColumnsDiffer.
    """
    values = model.features_of(frame)
    parts = [_of_member(member, values) for member in model.members_]
    base = float(np.mean([part_base for part_base, _ in parts]))
    contributions = np.mean([part for _, part in parts], axis=0)
    final_base, final = rescaled(model.calibrated_probability, base, contributions)
    return Explanation(tuple(model.feature_names_), final_base, final, final_base + final.sum(axis=1))


def explain_sampled(
    predict: Predict, background: Values, rows: Values, features: Sequence[str], seconds: float = 2.0, seed: int = 0
) -> Explanation:
    """What each feature adds to the answer of any model: `predict` takes shape (n, features) and gives shape (n,).

    `background`: rows that stand for "nothing is known"; 20 of them are drawn. Coalitions are sampled: 2,000 a row, or
    as many as a slow model answers in `seconds`, but two a feature at least, even if that takes longer.
    """
    import shap

    rng = np.random.default_rng(seed)
    drawn = background[np.sort(rng.choice(len(background), min(BACKGROUND_ROWS, len(background)), replace=False))]
    begun = time.perf_counter()
    predict(np.repeat(drawn, 10, axis=0))
    # Half of the time: the solver and the copies need the rest.
    affordable = 0.5 * seconds / max((time.perf_counter() - begun) / 10, 1e-6) / len(rows)
    coalitions = int(np.clip(affordable, 2 * len(features), MOST_COALITIONS))
    state = np.random.get_state()
    np.random.seed(seed)
    try:
        explainer = shap.KernelExplainer(predict, drawn)
        found = np.asarray(explainer.shap_values(rows, nsamples=coalitions, l1_reg=False, silent=True))
    finally:
        np.random.set_state(state)
    base = float(explainer.expected_value)
    return Explanation(tuple(features), base, found, base + found.sum(axis=1))


def rescaled(function: Predict, base: float, contributions: Values) -> tuple[float, Values]:
    """Contributions to `function` of an answer, from contributions to the answer itself: shared out alike.

    `function` rises and takes shape (n,). Gives the new base and contributions that sum to the new answers.
    """
    steps = contributions.sum(axis=1)
    new_base = float(function(np.array([base]))[0])
    still = np.abs(steps) < SMALLEST_STEP
    steps = np.where(still, SMALLEST_STEP, steps)
    slopes = (function(base + steps) - new_base) / steps
    return new_base, contributions * slopes[:, None]


def picture(contributions: Mapping[str, float], base: float, most: int = 10) -> str:
    """One answer as an SVG bar chart: the features that add most, the rest together, red for more and blue for less.

    `contributions` by feature name, as `Explanation.by_feature` gives them. Colours of text follow the page's. Narrow
    enough to be read on a phone: a bar lies below its name.
    """
    ordered = sorted(contributions.items(), key=lambda item: -abs(item[1]))
    shown = ordered[:most]
    if len(ordered) > most:
        shown.append((f"{len(ordered) - most} others", sum(value for _, value in ordered[most:])))
    answer = base + sum(contributions.values())
    longest = max((abs(value) for _, value in shown), default=0.0) or 1.0
    bars = "".join(_bar(place, name, value, longest) for place, (name, value) in enumerate(shown))
    height = BAR_HEIGHT * len(shown) + 24
    title = f"Answer {answer:.3f}, from {base:.3f} when nothing is known"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {BAR_WIDTH} {height}" role="img" '
        f'font-family="sans-serif" font-size="14" fill="currentColor"><title>{title}</title>{bars}'
        f'<text x="0" y="{height - 6}">{title}</text></svg>'
    )


def _bar(place: int, name: str, value: float, longest: float) -> str:
    middle = BAR_WIDTH / 2
    top, width = BAR_HEIGHT * place, middle * abs(value) / longest
    left = middle - (width if value < 0 else 0)
    colour = "#c0392b" if value > 0 else "#2e6da4"
    # Names of features differ at their ends.
    half = LONGEST_NAME // 2
    shown = name if len(name) <= LONGEST_NAME else f"{name[: half - 1]}…{name[-half:]}"
    return (
        f'<text x="0" y="{top + 14}">{escape(shown)}</text>'
        f'<text x="{BAR_WIDTH}" y="{top + 14}" text-anchor="end">{value:+.3f}</text>'
        f'<rect x="{left:.1f}" y="{top + 19}" width="{width:.1f}" height="10" fill="{colour}"/>'
        f'<line x1="{middle}" y1="{top + 17}" x2="{middle}" y2="{top + 31}" stroke="currentColor" opacity="0.5"/>'
    )


def _of_member(member: Any, values: Values) -> tuple[float, Values]:
    """Base and contributions, shape (n, features), to the probability of failure by one member."""
    from scipy.special import expit

    if hasattr(member, "booster_"):
        margins = np.asarray(member.booster_.predict(values, pred_contrib=True, num_threads=1))
        return rescaled(expit, float(margins[0, -1]), margins[:, :-1])
    explainer = _explainers.get(member)
    if explainer is None:
        import shap

        explainer = _explainers[member] = shap.TreeExplainer(member)
    found = np.asarray(explainer.shap_values(values, check_additivity=False))
    return float(explainer.expected_value[1]), found[..., 1]

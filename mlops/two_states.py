"""Where a machine that idles or runs changes from one to the other, seen in a channel that shows it."""

import numpy as np
from numpy.typing import NDArray

# The share of the variance that lies between the two groups is .64 for one normal distribution cut at its middle and
# .75 for a uniform one; beyond this there really are two states.
TWO_STATES = 0.85
# Otsu's threshold is looked for between so many quantiles.
CANDIDATES = 256


def threshold_between_states(values: NDArray[np.float64]) -> float | None:
    """The value that parts idle from running, or None where the values show one state only.

    Maximises the variance between the two groups (Otsu, 1979, "A Threshold Selection Method from Gray-Level
    Histograms"); half-way between the nearest values of the groups' middle halves, so that noise of neither reaches it.
    """
    known = np.sort(values[np.isfinite(values)])
    if len(known) < 2 or known[0] == known[-1]:
        return None
    cuts = np.unique(np.linspace(1, len(known) - 1, CANDIDATES).astype(int))
    sums = np.cumsum(known)
    below, above = sums[cuts - 1] / cuts, (sums[-1] - sums[cuts - 1]) / (len(known) - cuts)
    between = cuts * (len(known) - cuts) * (above - below) ** 2 / len(known) ** 2
    cut = cuts[np.argmax(between)]
    if between.max() < TWO_STATES * np.var(known):
        return None
    return float((np.quantile(known[:cut], 0.75) + np.quantile(known[cut:], 0.25)) / 2)

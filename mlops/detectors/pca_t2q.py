"""Distance within the plane that the asset's channels usually move in (T2) and away from it (Q)."""

import numpy as np
from scipy.stats import chi2

from mlops.detectors.asset import AssetDetector, Values
from mlops.detectors.quadratic import QuadraticForm, shrunk_covariance

# The principal components that together explain this share of the variance span the plane.
EXPLAINED_VARIANCE = 0.8
CONFIDENCE = 0.99


class PcaT2Q(AssetDetector):
    """T2 and Q of principal component analysis, each over its 99 % limit, added.

    Yue and Qin, 2001, "Reconstruction-based fault identification using a combined index"; the limit of Q is the
    two-moment approximation of Box, 1954.
    """

    def learn(self, rows: Values) -> QuadraticForm:
        covariance = shrunk_covariance(rows)
        variances, directions = np.linalg.eigh(covariance)
        variances, directions = variances[::-1], directions[:, ::-1]
        kept = int(np.searchsorted(np.cumsum(variances) / variances.sum(), EXPLAINED_VARIANCE)) + 1
        plane, rest = directions[:, :kept], variances[kept:]
        matrix = plane / variances[:kept] @ plane.T / chi2.ppf(CONFIDENCE, kept)
        if len(rest):
            first, second = rest.sum(), (rest**2).sum()
            limit = second / first * chi2.ppf(CONFIDENCE, first**2 / second)
            matrix += (np.eye(len(covariance)) - plane @ plane.T) / limit
        return QuadraticForm(matrix, covariance)

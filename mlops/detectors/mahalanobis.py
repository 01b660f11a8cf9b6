"""Distance from the asset's normal state, in which channels that move together may."""

import numpy as np

from mlops.detectors.asset import AssetDetector, Values
from mlops.detectors.quadratic import QuadraticForm, shrunk_covariance


class Mahalanobis(AssetDetector):
    """Mahalanobis distance with the shrunk covariance of Ledoit and Wolf (Hotelling's T2 statistic)."""

    def learn(self, rows: Values) -> QuadraticForm:
        covariance = shrunk_covariance(rows)
        precision: Values = np.linalg.inv(covariance).astype(float)
        return QuadraticForm(precision, covariance)

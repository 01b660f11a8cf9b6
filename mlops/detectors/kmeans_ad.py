"""Distance from the nearest of the shapes that an asset's channels usually take over a short while."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from mlops.detectors.asset import AssetDetector, Values
from mlops.detectors.channels import MEAN_ROWS

# Clusters of windows: 20 is what its authors' implementation and the benchmarks of Schmidl et al. use.
CLUSTERS = 20
# A cluster of fewer windows than this is made of chance.
ROWS_A_CLUSTER = 10
# Clusters do not change much with more windows than this, spread evenly over the training rows.
LARGEST_SAMPLE = 5000
SEED = 1


@dataclass(frozen=True)
class Clusters:
    centres: Values

    def squared(self, rows: Values) -> Values:
        """The mean square of the differences from the nearest centre, over the known entries."""
        known = ~np.isnan(rows)
        counts = known.sum(axis=1)
        nearest = self._from_centres(rows).min(axis=1)
        means: Values = np.divide(nearest, counts, out=np.full(len(rows), np.nan), where=counts > 0)
        return means

    def shares(self, rows: Values) -> Values:
        nearest = self.centres[self._from_centres(rows).argmin(axis=1)]
        squares: Values = np.nan_to_num(rows - nearest, nan=0.0) ** 2
        return squares

    def _from_centres(self, rows: Values) -> Values:
        known = (~np.isnan(rows)).astype(float)
        filled = np.nan_to_num(rows, nan=0.0)
        own = np.sum(filled**2, axis=1, keepdims=True)
        squares: Values = np.maximum(own - 2 * filled @ self.centres.T + known @ (self.centres**2).T, 0.0)
        return squares


class KMeansAD(AssetDetector):
    """Distance of a window of the channels' means from the nearest cluster centre.

    KMeansAD: Yairi et al., 2001; Schmidl et al., 2022, "Anomaly detection in time series: a comprehensive evaluation".
    """

    lags: ClassVar[tuple[int, ...]] = (0, MEAN_ROWS, 2 * MEAN_ROWS)

    def __init__(self, seed: int = SEED) -> None:
        super().__init__()
        self.seed = seed

    def learn(self, rows: Values) -> Clusters:
        sample = rows[:: -(-len(rows) // LARGEST_SAMPLE)]
        clusters = min(CLUSTERS, max(len(sample) // ROWS_A_CLUSTER, 1), len(np.unique(sample, axis=0)))
        # On threads its sums come in any order, and beside a busy neighbour it waits a hundred times longer than it
        # works.
        with threadpool_limits(1):
            return Clusters(KMeans(clusters, n_init=4, random_state=self.seed).fit(sample).cluster_centers_)

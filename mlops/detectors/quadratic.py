"""Distances of the form z' A z, for rows of which some entries may be unknown."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import LedoitWolf

Values = NDArray[np.float64]


@dataclass(frozen=True)
class QuadraticForm:
    """z' A z over the number of entries, with `matrix` A; `covariance`, of the entries, fills in unknown ones.

    Rows have mean 0. For Mahalanobis distance (A the inverse of the covariance), an entry filled in by what the known
    ones say of it adds nothing: the distance is that of the known entries alone.
    """

    matrix: Values
    covariance: Values

    def squared(self, rows: Values) -> Values:
        filled = self._filled(rows)
        known = (~np.isnan(rows)).sum(axis=1)
        squares = np.maximum(np.sum(filled @ self.matrix * filled, axis=1), 0.0)
        means: Values = np.divide(squares, known, out=np.full(len(rows), np.nan), where=known > 0)
        return means

    def shares(self, rows: Values) -> Values:
        """By how much the distance falls when the entry alone is put right: (A z)_i^2 / A_ii (Alcala and Qin, 2009,
        "Reconstruction-based contribution for process monitoring").
        """
        diagonal = np.diag(self.matrix)
        pulls = self._filled(rows) @ self.matrix
        fall = np.divide(pulls**2, diagonal, out=np.zeros_like(pulls), where=diagonal > 0)
        return np.where(np.isnan(rows), 0.0, fall)

    def _filled(self, rows: Values) -> Values:
        """Unknown entries as the known ones of their row and the covariance expect them."""
        filled = np.nan_to_num(rows, nan=0.0)
        unknown = np.isnan(rows)
        gappy = np.flatnonzero(unknown.any(axis=1) & ~unknown.all(axis=1))
        if not len(gappy):
            return filled
        patterns, which = np.unique(unknown[gappy], axis=0, return_inverse=True)
        for number, missing in enumerate(patterns):
            affected = gappy[which.reshape(-1) == number]
            among, between = self.covariance[np.ix_(~missing, ~missing)], self.covariance[np.ix_(~missing, missing)]
            filled[np.ix_(affected, missing)] = filled[np.ix_(affected, ~missing)] @ np.linalg.solve(among, between)
        return filled


def shrunk_covariance(rows: Values) -> Values:
    """The covariance after Ledoit and Wolf (2004, "A well-conditioned estimator for large-dimensional covariance
    matrices"), of standardised rows; entries that never move get the variance 1 they were scaled for.
    """
    covariance: Values = LedoitWolf(assume_centered=True).fit(rows).covariance_
    still = rows.var(axis=0) < np.finfo(float).eps
    covariance[still, still] = 1.0
    return covariance

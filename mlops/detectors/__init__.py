"""One detector a file. A detector learns from readings and scores readings; it decides and remembers nothing."""

from importlib import import_module
from typing import Any

# Where each is found; those that need the libraries of model work are imported by workers and commands only.
OF_ONE_SENSOR = {
    "robust": "mlops.detectors.robust.RobustDetector",
    "ensemble": "mlops.detectors.ensemble.Ensemble",
    "sub_pca": "mlops.detectors.sub_pca.SubPCA",
    "autoregressive": "mlops.detectors.autoregressive.Autoregressive",
    "polynomial": "mlops.detectors.polynomial.Polynomial",
    "spectral_residual": "mlops.detectors.spectral_residual.SpectralResidual",
    "isolation_forest": "mlops.detectors.isolation_forest.IsolationForest",
    "one_class_svm": "mlops.detectors.one_class_svm.OneClassSVM",
}
OF_ONE_ASSET = {
    "asset_ensemble": "mlops.detectors.asset_ensemble.AssetEnsemble",
    "mahalanobis": "mlops.detectors.mahalanobis.Mahalanobis",
    "pca_t2q": "mlops.detectors.pca_t2q.PcaT2Q",
    "kmeans_ad": "mlops.detectors.kmeans_ad.KMeansAD",
}
DETECTORS = {**OF_ONE_SENSOR, **OF_ONE_ASSET}


def detector_class(name: str) -> Any:
    """The class of a detector (mlops.detectors.base.Detector) by its name in `DETECTORS`."""
    module, found = DETECTORS[name].rsplit(".", 1)
    return getattr(import_module(module), found)

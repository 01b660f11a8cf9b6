"""One detector a file. A detector learns from readings and scores readings; it decides and remembers nothing."""

# Where each is found; those that need the libraries of model work are imported by workers and commands only.
DETECTORS = {
    "asset_ensemble": "mlops.detectors.asset_ensemble.AssetEnsemble",
    "mahalanobis": "mlops.detectors.mahalanobis.Mahalanobis",
    "pca_t2q": "mlops.detectors.pca_t2q.PcaT2Q",
    "kmeans_ad": "mlops.detectors.kmeans_ad.KMeansAD",
}

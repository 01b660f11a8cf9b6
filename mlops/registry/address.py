"""Where MLflow is."""

MARK = "unix://"
# Our own server has everything below the path at which the web process shows its pages (mlops.mlflow_pages).
PREFIX = "/models/mlflow"


def address(uri: str) -> tuple[str, str | None]:
    """The base of URLs, and the Unix socket to reach them through, if it is one.

    >>> address("unix:///srv/run/mlflow.sock")
    ('http://localhost/models/mlflow', '/srv/run/mlflow.sock')
    """
    if uri.startswith(MARK):
        return f"http://localhost{PREFIX}", uri.removeprefix(MARK)
    return uri.rstrip("/"), None

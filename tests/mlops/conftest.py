from collections.abc import Iterator

import pytest

from tests.mlops.mlflow_server import Server, running


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A tracking server of the file's own: it takes ten seconds to start."""
    with running(tmp_path_factory.mktemp("mlflow")) as server:
        yield server

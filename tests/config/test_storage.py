import os
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import boto3
import pytest
from django.conf import LazySettings
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from moto.server import ThreadedMotoServer

from config.storage import files_storage
from tests.platform import free_port


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    port = free_port()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{port}")
    boto3.client("s3").create_bucket(Bucket="plant")
    yield "s3://plant/photos"
    server.stop()


def test_files_lie_in_the_bucket_under_the_prefix(s3: str, settings: LazySettings) -> None:
    settings.STORAGES = {**settings.STORAGES, "default": files_storage(s3, Path("unused"))}
    name = storages["default"].save("work-orders/1/a.jpg", ContentFile(b"red"))
    stored = BytesIO()
    boto3.client("s3").download_fileobj("plant", "photos/work-orders/1/a.jpg", stored)
    assert (stored.getvalue(), storages["default"].open(name).read()) == (b"red", b"red")
    with pytest.raises(FileNotFoundError):
        storages["default"].open("work-orders/1/other.jpg")


def test_files_in_a_directory_are_readable_by_us_alone(tmp_path: Path, settings: LazySettings) -> None:
    settings.STORAGES = {**settings.STORAGES, "default": files_storage("", tmp_path)}
    storages["default"].save("a.jpg", ContentFile(b"red"))
    assert os.stat(tmp_path / "a.jpg").st_mode & 0o777 == 0o600

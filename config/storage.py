"""Where files of people are kept: a directory, or a bucket of S3 and what speaks like it."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


def files_storage(root: str, default: Path) -> dict[str, Any]:
    """Django's storage for `root`: s3://bucket/prefix, a directory, or `default` when it is empty.

    The files are given out by views that ask who may see them, so buckets stay private. Keys and address of S3 are the
    AWS_ variables that boto3 knows, AWS_ENDPOINT_URL_S3 among them.

    >>> files_storage("s3://plant/photos", Path("/x"))["OPTIONS"]["bucket_name"]
    'plant'
    """
    if root.startswith("s3://"):
        address = urlsplit(root)
        options: dict[str, Any] = {
            "bucket_name": address.netloc,
            "location": address.path.strip("/"),
            "default_acl": None,
            "querystring_auth": True,
            "file_overwrite": False,
        }
        return {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": options}
    local = {"location": str(Path(root) if root else default), "file_permissions_mode": 0o600}
    return {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": local}

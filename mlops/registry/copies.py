"""The worker's own copies of artifacts: files that never change, and the unpickled ones it used last."""

import os
import threading
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from mlops.models import ModelVersion
from mlops.registry.artifact import Corrupt, ModelArtifact, unpacked

# Unpickled models take about as much memory as their files have bytes.
MEMORY_BYTES = 256 * 1024 * 1024
MEMORY_ENTRIES = 2000
DISK_BYTES = 4 * 1024**3


@dataclass(frozen=True)
class _Kept:
    artifact: ModelArtifact
    size_bytes: int
    kept_at: float  # epoch seconds


class Memory:
    """The least recently used go first when there are too many bytes or entries."""

    def __init__(self, size_bytes: int = MEMORY_BYTES, entries: int = MEMORY_ENTRIES) -> None:
        self._limits = size_bytes, entries
        self._kept: OrderedDict[int, _Kept] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, version: int) -> ModelArtifact | None:
        with self._lock:
            kept = self._kept.get(version)
            if kept is None:
                return None
            self._kept.move_to_end(version)
            return kept.artifact

    def keep(self, version: ModelVersion, artifact: ModelArtifact, now: float) -> None:
        self.forget(version.pk)
        with self._lock:
            self._kept[version.pk] = _Kept(artifact, version.size_bytes, now)
            self._bytes += version.size_bytes
            while len(self._kept) > 1 and (self._bytes > self._limits[0] or len(self._kept) > self._limits[1]):
                self._bytes -= self._kept.popitem(last=False)[1].size_bytes

    def forget(self, version: int, before: float = float("inf")) -> None:
        """Drop what was kept before a time (epoch seconds)."""
        with self._lock:
            if version in self._kept and self._kept[version].kept_at < before:
                self._bytes -= self._kept.pop(version).size_bytes


def path_of(version: ModelVersion) -> Path:
    # Names are people's, so they are no part of the path; name and version are, by the key.
    return Path(settings.MODEL_CACHE) / f"{version.pk}-{version.sha256}.pickle"


def read(version: ModelVersion) -> ModelArtifact | None:
    """The artifact from disk; None when there is no copy, or it was damaged and is now gone."""
    path = path_of(version)
    try:
        artifact = unpacked(path.read_bytes(), version.sha256)
        os.utime(path)
        return artifact
    except FileNotFoundError:
        return None
    except (Corrupt, OSError):
        with suppress(OSError):
            path.unlink(missing_ok=True)
        return None


def write(version: ModelVersion, content: bytes) -> None:
    """Keep a copy: whole or not at all, whoever else writes it at the same time. A full disk is no reason to fail."""
    path = path_of(version)
    with suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}.part")
        try:
            draft.write_bytes(content)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        _make_room(path)


def remove(version: int, before: float) -> None:
    """Delete the copy if it was used or written before a time (epoch seconds)."""
    for path in Path(settings.MODEL_CACHE).glob(f"{version}-*.pickle"):
        with suppress(OSError):
            if path.stat().st_mtime < before:
                path.unlink()


def _make_room(newest: Path) -> None:
    """Delete what was not used for longest until the rest fits, and drafts that a killed worker left."""
    files = sorted((path.stat().st_mtime, path.stat().st_size, path) for path in newest.parent.iterdir())
    taken = sum(size for _, size, _ in files)
    for _, size, path in files:
        if taken <= DISK_BYTES or path == newest:
            break
        path.unlink(missing_ok=True)
        taken -= size

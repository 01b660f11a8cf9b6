"""Shows what several log files grow by, on one terminal."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO


class LogFile:
    """The lines added to a file since this object was made, across the file's rotation."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.stem
        self._file = self._open()
        self._rest = b""
        if self._file:
            self._file.seek(0, os.SEEK_END)

    def new_lines(self) -> Iterator[str]:
        """Complete lines written since the last call."""
        yield from self._read()
        if self._was_replaced():
            self._file = self._open()
            yield from self._read()

    def close(self) -> None:
        if self._file:
            self._file.close()

    def _read(self) -> Iterator[str]:
        if not self._file:
            return
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        for line in lines:
            yield line.decode(errors="replace")

    def _was_replaced(self) -> bool:
        try:
            now = os.stat(self.path)
        except FileNotFoundError:
            return False
        if self._file is None:
            return True
        before = os.fstat(self._file.fileno())
        if (now.st_dev, now.st_ino) == (before.st_dev, before.st_ino):
            return False
        self._file.close()
        return True

    def _open(self) -> BinaryIO | None:
        try:
            return open(self.path, "rb")
        except FileNotFoundError:
            return None


def new_lines(files: Iterable[LogFile], *, prefixed: bool) -> Iterator[str]:
    """What the files have grown by; `prefixed` puts each line's file name before it."""
    for file in files:
        for line in file.new_lines():
            yield f"{file.name:<10} | {line}" if prefixed else line

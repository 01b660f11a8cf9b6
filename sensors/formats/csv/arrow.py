"""pyarrow, loaded when a file is read: it is 30 MB that the web process, which only takes files in, can do without."""

from importlib import import_module
from typing import TYPE_CHECKING, Any


class _Late:
    """A module that is imported when something of it is first used."""

    def __init__(self, *names: str) -> None:
        self._names = names

    def __getattr__(self, name: str) -> Any:
        module, *_ = [import_module(each) for each in self._names]
        return getattr(module, name)


if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.csv
else:
    pa, pc, pyarrow = _Late("pyarrow"), _Late("pyarrow.compute"), _Late("pyarrow", "pyarrow.csv")

__all__ = ["pa", "pc", "pyarrow"]

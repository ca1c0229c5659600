"""What libraries load or start of their own accord, and no process of ours needs: half of the time to start."""

import gc
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class _NoPandas(MetaPathFinder):
    """There is no pandas in this process."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == "pandas":
            raise ModuleNotFoundError("flowtide runs without pandas", name=fullname)
        return None


def start_lean() -> None:
    """Called before NumPy is imported; what this process starts inherits the half of it."""
    # Arrow imports pandas at its first conversion, and the engine at its first insert: it asks whether it is given a
    # data frame.  That is half a second of CPU, while datagrams come.
    if not any(isinstance(finder, _NoPandas) for finder in sys.meta_path):
        sys.meta_path.insert(0, _NoPandas())
    # No sum here is large enough for a second thread of linear algebra, and each spins a tenth of a second at first.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


@contextmanager
def loading() -> Iterator[None]:
    """For imports: modules stay, so no collection looks through them again and again while they are made."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()

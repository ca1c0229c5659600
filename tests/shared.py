"""The folder of captures and references beside the repository, which tests share and the repository must not hold."""

import os
from pathlib import Path

import pytest

_DEFAULT = Path(__file__).resolve().parents[2] / "shared"


def shared_folder(*parts: str) -> Path:
    """A path in it; without it the test is skipped, or fails where FLOWTIDE_NO_SKIP=1 forbids that."""
    path = Path(os.environ.get("FLOWTIDE_SHARED") or _DEFAULT).joinpath(*parts)
    if not path.exists():
        reason = f"{path} is not there: set FLOWTIDE_SHARED to the folder of captures"
        if os.environ.get("FLOWTIDE_NO_SKIP") == "1":
            pytest.fail(reason)
        pytest.skip(reason, allow_module_level=True)
    return path

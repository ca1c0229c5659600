"""The console's modules that need no page, in Node: ``node --test``."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

MODULES = Path(__file__).parent / "modules"
STATIC = Path(__file__).parents[2] / "dashboards" / "console" / "static"
_LEAST = (20, 19)  # from there on a .js file with exports is a module without a package.json


@pytest.mark.parametrize("name", sorted(path.name for path in MODULES.glob("*.test.mjs")))
def test_modules_say_what_is_expected(name: str) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not there: apt-get install nodejs")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if tuple(int(part) for part in version.lstrip("v").split(".")[:2]) < _LEAST:
        pytest.skip(f"node {version} takes no module without a package.json: 20.19 is the least")
    # Another zone than UTC, with summer time: both are where mistakes show.
    done = subprocess.run(
        [node, "--no-warnings", "--test", str(MODULES / name)],
        capture_output=True, text=True, check=False, env={"TZ": "Europe/Berlin", "PATH": "/usr/bin:/bin"}, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "# pass 0" not in done.stdout, "no test ran"


def test_every_module_is_fetched_ahead_and_found() -> None:
    page = (STATIC / "index.html").read_text()
    modules = {path.name for path in STATIC.glob("*.js")}
    assert set(re.findall(r'modulepreload" href="/static/([\w.]+)"', page)) == modules - {"main.js", "early.js"}
    for path in STATIC.glob("*.js"):
        imported = re.findall(r'^(?:import|export) .*?from "\./([\w.]+)";', path.read_text(), re.MULTILINE | re.DOTALL)
        assert set(imported) <= modules, path.name


def test_data_cannot_become_markup_or_code() -> None:
    """The page's policy forbids what runs; this forbids what a policy does not see."""
    forbidden = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser|srcdoc"
    )
    for path in (*STATIC.glob("*.js"), STATIC / "index.html"):
        assert not forbidden.search(path.read_text()), path.name
    page = (STATIC / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=|https?://", page)

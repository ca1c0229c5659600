"""The pages: our own files as they are, and plotly's script packed once."""

import functools
import gzip
import hashlib
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import Response

FOLDER = Path(__file__).parent / "static"
PLOTLY_VERSION = version("plotly")
PLOTLY_URL = f"/static/plotly.min.js?v={PLOTLY_VERSION}"

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
    ".json": "application/json",
    ".txt": "text/plain; charset=utf-8",
}
_FOR_EVER = "public, max-age=31536000, immutable"


def page(headers: Headers) -> Response:
    """The shell that every address shows; the script reads the address."""
    return _plain(FOLDER / "index.html", headers)


def static(name: str, headers: Headers) -> Response:
    """One of our files, asked for again at each use and sent when it changed; 404."""
    path = (FOLDER / name.replace("\0", "")).resolve()
    if not path.is_relative_to(FOLDER) or path.suffix not in _TYPES or not path.is_file():
        return Response("there is no such file\n", 404, media_type="text/plain")
    return _plain(path, headers)


def plotly(headers: Headers) -> Response:
    """The script, which a browser keeps for ever: its version is in its address."""
    told = {"Cache-Control": _FOR_EVER, "ETag": f'"plotly-{PLOTLY_VERSION}"', "Vary": "Accept-Encoding"}
    if headers.get("if-none-match") == told["ETag"]:
        return Response(status_code=304, headers=told)
    body = packed_plotly()
    if "gzip" in headers.get("accept-encoding", ""):
        return Response(body, headers=told | {"Content-Encoding": "gzip"}, media_type=_TYPES[".js"])
    return Response(gzip.decompress(body), headers=told, media_type=_TYPES[".js"])


@functools.cache
def packed_plotly() -> bytes:
    """The script of the installed plotly, 4 MB, as gzip has it; the first call takes half a second."""
    return gzip.compress(_script().read_bytes(), 6, mtime=0)


def _script() -> Path:
    spec = find_spec("plotly")  # importing it would cost a second and 50 MB
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "package_data" / "plotly.min.js"


def _plain(path: Path, headers: Headers) -> Response:
    try:
        body = path.read_bytes()
    except OSError:
        return Response(f"{path.name} is not installed: install flowtide again\n", 500, media_type="text/plain")
    told = {"Cache-Control": "no-cache", "ETag": f'"{hashlib.sha256(body).hexdigest()[:32]}"'}
    if headers.get("if-none-match") == told["ETag"]:
        return Response(status_code=304, headers=told)
    return Response(body, headers=told | {"Content-Type": _TYPES[path.suffix]})

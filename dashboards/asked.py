"""Where the console and the evaluator ask the store, and what its errors say; common to both ways of asking."""

import re
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import AfterValidator

CODE = re.compile(r"Code: (\d+)\. ?")
SETTING_CODES = (115, 164, 452)
"""By which an account refuses settings: unknown, read-only, against a constraint."""
LOGIN_CODES = (192, 193, 194, 516)
_NOISE = re.compile(r" ?\(version [\d.]+(?: \([^)]*\))?\)")


@dataclass(frozen=True, slots=True)
class Target:
    """Where the store answers, and as whom it is asked."""

    url: str
    user: str = "reader"
    password: str = field(default="", repr=False)
    database: str = "flowtide"
    timezone: str = "UTC"  # of sessions (IANA): days and hours of panels
    ca_file: str = ""


def plain(text: str) -> str:
    """An error of ClickHouse without code, version and stack."""
    head = text.partition("Stack trace")[0].partition(", e.what()")[0].strip()
    found = list(re.finditer(r"Code: \d+\. (?:DB::Exception: )?", head))
    if found:
        head = head[found[-1].end() :]
    return _NOISE.sub("", head).removeprefix("DB::Exception: ").strip()


def _over_http(url: str) -> str:
    if url and not url.startswith(("http://", "https://")):
        raise ValueError(f"{url!r}: write http://HOST:PORT or https://HOST:PORT")
    return url


StoreUrl = Annotated[str, AfterValidator(_over_http)]
"""Of a setting: an address over HTTP, or empty."""

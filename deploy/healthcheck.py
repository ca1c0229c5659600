"""Ask the part that runs on this data directory how it is; status 0: well.  Needs nothing but Python.

A running part says in ``state/`` where it answers, so that the check is the same for all parts and ports.
"""

import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path

_SECONDS = 4.0
_FILES = ("running.json", "collect.json", "enrich.json", "sink.json")


def addresses(data: Path) -> list[str]:
    """Of all parts that run here, as they said."""
    found: list[str] = []
    for name in _FILES:
        path = data / "state" / name
        if path.is_file():
            said = json.loads(path.read_text(encoding="utf-8"))
            # Not the shipper's: while brokers are away the collector works on, and must not be taken for ill.
            found += [said[key] for key in ("collector_metrics", "http", "metrics") if said.get(key)]
    return [one.removesuffix("/metrics") for one in found if one.startswith("http://")]


def main() -> int:
    """Status 0 when everybody asked answers 200 to /healthz."""
    asked = addresses(Path(os.environ.get("FLOWTIDE_DATA", "flowtide-data")))
    for address in asked:
        try:
            with urllib.request.urlopen(f"{address}/healthz", timeout=_SECONDS) as answer:  # noqa: S310 - http only
                answer.read()
        except urllib.error.HTTPError as error:
            if error.code == 404:  # the ClickHouse server of a stack, whose address it says too
                continue
            print(f"{address}: {error.read().decode(errors='replace')}")
            return 1
        except OSError as error:
            print(f"{address}: {error}")
            return 1
    if not asked:
        print("nothing runs on this data directory yet")
    return 0 if asked else 1


if __name__ == "__main__":
    sys.exit(main())

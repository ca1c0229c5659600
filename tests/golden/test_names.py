"""Names in options data: what the oracles say that exporters told, against the rows of ``exporter_name``."""

import json
from collections.abc import Iterator

import pytest

from tests.golden.compare import decode
from tests.shared import shared_folder

KINDS = {
    "interfaceName": ("interface", "name"),
    "interfaceDescription": ("interface", "description"),
    "applicationName": ("application", "name"),
    "applicationDescription": ("application", "description"),
    "VRFname": ("vrf", "name"),
    "samplerName": ("sampler", "name"),
}
# softflowd's IPFIX names an interface without saying which one, so there is nothing to learn.
CAPTURES = {  # and the kinds of names that its oracle has: an oracle that lost its options shows
    "ipfix_pm_cisco_112_options_remap": {"interface", "vrf", "sampler"},
    "ipfix_pm_cisco_501_mpls": {"interface", "vrf", "sampler"},
    "ipfix_pm_cisco_ipv6_sampling": {"sampler"},
    "v9_ak_iosxr_full": {"sampler"},
    "v9_cisco_asr9k": {"interface"},
    "v9_cisco_nbar": {"application"},
    "v9_softflowd_sampled10": {"interface"},
}


def told(name: str) -> Iterator[tuple[str, str, str]]:
    """Kind, column and text of each name in the oracle's options records; empty ones left out."""
    with shared_folder("captures", "oracle", f"{name}.jsonl").open(encoding="utf-8") as file:
        for line in file:
            record = json.loads(line)
            if record["kind"] != "options":
                continue
            for element, (kind, column) in KINDS.items():
                values = record["fields"].get(element, [])
                for value in values if isinstance(values, list) else [values]:
                    if text := str(value).strip("\0 "):
                        yield kind, column, text


@pytest.mark.parametrize("name", CAPTURES)
def test_every_name_that_an_exporter_told_is_learnt(name: str) -> None:
    wanted = set(told(name))
    assert {kind for kind, _, _ in wanted} == CAPTURES[name]
    found = {
        (str(row["kind"]), column, str(row[column]))
        for table, row in decode(name).observations
        if table == "exporter_name"
        for column in ("name", "description")
    }
    assert wanted <= found, sorted(wanted - found)[:5]

"""Names an exporter tells of itself: interfaces, applications, VRFs, samplers; and what the operator says over it."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from collector.decoder.elements import SAMPLERS, SCOPE_INTERFACE, SCOPE_PEN
from collector.decoder.options import (
    APPLICATION,
    APPLICATION_DESCRIPTION,
    APPLICATION_NAME,
    INTERFACE_DESCRIPTION,
    INTERFACE_NAME,
    INTERFACES,
    SAMPLER_NAME,
    SELECTOR_NAME,
    VRF_NAME,
    VRFS,
    Option,
)

INTERFACE, APPLICATION_KIND, VRF, SAMPLER = "interface", "application", "vrf", "sampler"
"""Kinds of ``exporter_name``."""
Key = tuple[str, int]
"""Kind and id."""


class Name(NamedTuple):
    """What is known of an interface, an application, a VRF or a sampler; empty and 0: nothing."""

    name: str = ""
    description: str = ""
    speed: int = 0  # bits a second

    def under(self, other: "Name") -> "Name":
        """The other, and where it says nothing this one."""
        return Name(other.name or self.name, other.description or self.description, other.speed or self.speed)


Interfaces = Mapping[tuple[str, int], Name]
"""The operator's word on interfaces, by exporter and interface."""


def names_in(option: Option, interval: int | None) -> Iterator[tuple[Key, Name]]:
    """What an options record names; ``interval``: the sampling interval it says."""
    numbers, texts = option.numbers, option.texts

    def first(*elements: tuple[int, int]) -> int | None:
        return next((numbers[element] for element in elements if element in numbers), None)

    interface = first((SCOPE_INTERFACE, SCOPE_PEN), *((element, 0) for element in INTERFACES))
    told = Name(texts.get(INTERFACE_NAME, ""), texts.get(INTERFACE_DESCRIPTION, ""))
    if interface is not None and any(told):
        yield (INTERFACE, interface), told
    application = first((APPLICATION, 0))
    told = Name(texts.get(APPLICATION_NAME, ""), texts.get(APPLICATION_DESCRIPTION, ""))
    if application is not None and any(told):
        yield (APPLICATION_KIND, application), told
    if texts.get(VRF_NAME):
        for element in VRFS:
            if (element, 0) in numbers:
                yield (VRF, numbers[element, 0]), Name(texts[VRF_NAME])
    sampler = first(*((element, 0) for element in SAMPLERS))
    told = Name(texts.get(SAMPLER_NAME) or texts.get(SELECTOR_NAME, ""), f"1 in {interval}" if interval else "")
    if any(told) and (sampler is not None or (interval and not interface)):
        yield (SAMPLER, sampler or 0), told  # 0: of the whole domain

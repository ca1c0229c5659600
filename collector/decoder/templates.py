"""What template sets say, and what it does to a domain's templates."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from collector.decoder.domains import Domain, Domains, Template
from collector.decoder.elements import FieldSpecifier
from collector.decoder.errors import Reason
from collector.decoder.layouts import Layouts


@dataclass(frozen=True, slots=True)
class Definition:
    """A template as announced; ``scopes`` None: of flows, else the number of scope fields."""

    number: int
    fields: tuple[FieldSpecifier, ...]
    scopes: int | None


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A template (None: all of the set's kind) is no longer used."""

    number: int | None


Announced = Definition | Withdrawal | Reason
"""What a template set says, one after another; a reason: here it is not sound, and the rest cannot be read."""
Reader = Callable[[memoryview], Iterator[Announced]]


class TemplateCache:
    """Templates by exporter, version, observation domain and number; both kinds share the numbers."""

    def __init__(self, domains: Domains) -> None:
        self._domains = domains
        self.layouts = Layouts()

    def read(self, domain: Domain, announced: Iterator[Announced], options: bool) -> list[int] | None:
        """Numbers that were defined; None: there was nothing sound.  All is counted."""
        defined: list[int] = []
        withdrawn = 0
        for each in announced:
            domain.tally("templates")
            if isinstance(each, Reason):
                domain.tally(f"templates_dropped_{each}")
            elif isinstance(each, Withdrawal):
                withdrawn += 1
                domain.tally("templates_withdrawn")
                self._withdraw(domain, each.number, options)
            else:
                domain.tally("templates_accepted")
                self.define(domain, each)
                defined.append(each.number)
        return defined if defined or withdrawn else None

    def define(self, domain: Domain, definition: Definition) -> None:
        """The last definition counts, without a withdrawal too: a restarted device numbers anew."""
        known = domain.templates.get(definition.number)
        layout = self.layouts.intern(domain.version, definition.fields)
        if known is not None and known.layout is layout and known.scopes == definition.scopes:
            known.used_ms = known.told_ms = domain.seen_ms
            return
        if definition.scopes is None and (ignored := layout.ignored):
            domain.tally("fields_ignored", ignored)
        template = Template(definition.number, layout, definition.scopes, domain.seen_ms, domain.seen_ms)
        if evicted := self._domains.learn(domain, template):
            domain.tally("templates_evicted", evicted)

    def _withdraw(self, domain: Domain, number: int | None, options: bool) -> None:
        if number is None:
            gone = [template for template in domain.templates.values() if template.is_flow != options]
        else:
            gone = [template] if (template := domain.templates.get(number)) else []
        self._domains.forget(domain, gone)

"""What survives a restart: templates and options data, as JSON with a version."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from collector.decoder.domains import Domains, Facts
from collector.decoder.elements import FieldSpecifier
from collector.decoder.errors import StateError
from collector.decoder.sets import Intake
from collector.decoder.templates import Definition

_U16 = Annotated[int, Field(ge=0, lt=2**16)]
_U32 = Annotated[int, Field(ge=0, lt=2**32)]
_Interval = Annotated[int, Field(ge=1, lt=2**32)]
_Id = Annotated[int, Field(ge=0, lt=2**64)]
_Ms = Annotated[int, Field(ge=0, lt=2**63)]


class _Saved(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Template(_Saved):
    number: Annotated[int, Field(ge=256, lt=2**16)]
    scopes: _U16 | None
    fields: list[tuple[_U16, _U16, Annotated[int, Field(ge=-1, lt=2**32)]]]


class _Facts(_Saved):
    init_ms: _Ms | None
    interval: _Interval | None
    samplers: dict[_Id, _Interval]
    interfaces: dict[_Id, _Interval]


class _Domain(_Saved):
    exporter: Annotated[str, Field(min_length=1, max_length=64)]
    version: Literal[9, 10]
    number: _U32
    seen_ms: _Ms
    templates: list[_Template]
    facts: _Facts


class _State(_Saved):
    version: Literal[1]
    domains: list[_Domain]


def dump(domains: Domains) -> bytes:
    """Bytes of the state; the same templates give the same bytes."""
    saved = [
        _Domain(
            exporter=domain.exporter.address,
            version=9 if domain.version == 9 else 10,
            number=domain.number,
            seen_ms=domain.seen_ms,
            templates=[
                _Template(number=template.number, scopes=template.scopes, fields=list(template.layout.fields))
                for template in domain.templates.values()
            ],
            facts=_Facts(
                init_ms=domain.facts.init_ms,
                interval=domain.facts.interval,
                samplers=domain.facts.samplers,
                interfaces=domain.facts.interfaces,
            ),
        )
        for domain in domains.known.values()
        if domain.version in (9, 10)  # the others have nothing to learn
    ]
    return _State(version=1, domains=saved).model_dump_json().encode()


def load(data: bytes, intake: Intake) -> int:
    """Add the saved domains to those of the intake; how many templates.  StateError before anything is changed."""
    try:
        state = _State.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise StateError(f"decoder state refused: {where}: {first['msg']}") from error
    templates = 0
    for saved in state.domains:
        domain = intake.domains.known.get((saved.exporter, saved.version, saved.number))
        if domain is None:
            domain = intake.open(saved.exporter, saved.version, saved.number, saved.seen_ms)
        for each in saved.templates:
            fields = tuple(FieldSpecifier(*field) for field in each.fields)
            intake.cache.define(domain, Definition(each.number, fields, each.scopes))
            templates += 1
        facts = saved.facts
        domain.facts = Facts(facts.init_ms, facts.interval, None, dict(facts.samplers), dict(facts.interfaces))
        domain.source = -1
    return templates

"""What survives a restart, as JSON with a version: templates and options data; of a decoder that stops, also sequence
numbers, names, and the data sets that wait for their template.

While the decoder runs on, these are left out: by the time a crash needs them they are seconds old, and what came since
would seem missed, or come twice; and names are many, and are told again.
"""

from base64 import b64encode
from typing import Annotated, Literal, cast

from pydantic import Base64Bytes, BaseModel, ConfigDict, Field, ValidationError

from collector.decoder.domains import Domain, Facts
from collector.decoder.elements import FieldSpecifier
from collector.decoder.errors import Reason, StateError
from collector.decoder.held import HeldSet
from collector.decoder.names import Key, Name
from collector.decoder.sequence import WINDOW
from collector.decoder.sets import Intake
from collector.decoder.templates import Definition

_U16 = Annotated[int, Field(ge=0, lt=2**16)]
_U32 = Annotated[int, Field(ge=0, lt=2**32)]
_Interval = Annotated[int, Field(ge=1, lt=2**32)]
_Id = Annotated[int, Field(ge=0, lt=2**64)]
_Ms = Annotated[int, Field(ge=0, lt=2**63)]


_Version = Literal[5, 9, 10, 6343]
_Kind = Literal["interface", "application", "vrf", "sampler"]


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


class _Sequence(_Saved):
    due: Annotated[int, Field(ge=-1, lt=2**32)]
    ends: Annotated[int, Field(ge=0, le=16)]
    recent: Annotated[
        list[tuple[_U32, Annotated[int, Field(ge=-1, lt=2**32)], _U32, _U32, _Ms]], Field(max_length=WINDOW)
    ]


class _Held(_Saved):
    template: _U16
    export_s: _U32
    uptime_ms: _U32
    received_ms: _Ms
    flags: _U32
    body: Annotated[Base64Bytes, Field(min_length=1, max_length=2**16)]


class _Name(_Saved):
    kind: _Kind
    id: _Id
    name: Annotated[str, Field(max_length=255)]
    description: Annotated[str, Field(max_length=255)]
    speed: _Id


class _Domain(_Saved):
    exporter: Annotated[str, Field(min_length=1, max_length=64)]
    version: _Version
    number: _U32
    seen_ms: _Ms
    templates: list[_Template]
    facts: _Facts
    names: list[_Name] = []
    sequence: _Sequence | None = None
    held: list[_Held] = []


class _State(_Saved):
    version: Literal[1]
    domains: list[_Domain]


def dump(intake: Intake, running: bool) -> bytes:
    """Bytes of the state; the same templates give the same bytes."""
    saved = [_save(domain, intake, running) for domain in intake.domains.known.values()]
    return _State(version=1, domains=saved).model_dump_json(exclude_defaults=True).encode()


def _save(domain: Domain, intake: Intake, running: bool) -> _Domain:
    facts = domain.facts
    due, ends, recent = domain.sequence.saved()
    return _Domain.model_construct(
        exporter=domain.exporter.address,
        version=cast(_Version, domain.version),
        number=domain.number,
        seen_ms=domain.seen_ms,
        templates=[
            _Template(number=template.number, scopes=template.scopes, fields=list(template.layout.fields))
            for template in domain.templates.values()
        ],
        facts=_Facts(
            init_ms=facts.init_ms, interval=facts.interval, samplers=facts.samplers, interfaces=facts.interfaces
        ),
        names=[] if running else [_name(key, name) for key, name in domain.names.items()],
        sequence=_Sequence(due=due, ends=ends, recent=recent) if recent and not running else None,
        held=[] if running else [_held(number, each) for number, each in intake.held.of(domain)],
    )


def _name(key: Key, name: Name) -> _Name:
    return _Name.model_construct(kind=cast(_Kind, key[0]), id=key[1], **name._asdict())


def _held(number: int, held: HeldSet) -> _Held:
    return _Held(
        template=number, export_s=held.export_s, uptime_ms=held.uptime_ms, received_ms=held.received_ms,
        flags=held.flags, body=b64encode(held.body),
    )  # fmt: skip


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
        for name in saved.names:
            intake.restore_name(domain, (name.kind, name.id), Name(name.name, name.description, name.speed))
        if saved.sequence is not None:
            domain.sequence.restore(saved.sequence.due, saved.sequence.ends, saved.sequence.recent)
        for each_held in saved.held:
            held = HeldSet(
                each_held.body, each_held.export_s, each_held.uptime_ms, each_held.received_ms, each_held.flags
            )
            if not intake.held.put(domain, each_held.template, held):
                domain.tally(f"held_dropped_{Reason.EVICTED}")
    return templates

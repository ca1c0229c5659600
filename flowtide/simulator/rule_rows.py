"""Rows of the narrow tables that alert rules read, of weeks in seconds: what the pipeline would have left there.

A service's packets are given, and how many of them are QUIC's is drawn, so that a share has the error of its sampled
packets and no more; all packets are equally large.  A service may be called as one likes: many of them, each with a
seed and exporters of its own, are as many trials in one store.  All tables say the same of a minute.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flowtide.simulator.share_noise import Q1, Q2, STEP_SECONDS, Noise, dealt, volume, wandering
from sinks import Store
from sinks.inserts import MAX_ROWS
from sinks.schema import SamplingSource

TABLES = ("bucket_end_5m", "exporter_1m", "bucket_1m", "exporter_health_1m", "audit_1m")
BUCKETS = ("udp/443", "tcp/443", "tcp/80")
"""The last one stands for everything that is not port 443."""

_QUIC, _TCP, _REST = range(3)
_MINUTES_A_STEP = STEP_SECONDS // 60
_DIRECTIONS = (0.3, 0.7)  # of the packets: from users, and to them
_OCTETS = 1_000  # a packet
_FLOWS_A_DATAGRAM = 28
_EXPORTERS_BACK = 8 * 86_400
_LABELS = ("exporter", "service", "access", "bucket")
Columns = dict[str, NDArray[np.int64]]
"""By name, all of one length; of labels the places in lists that all trials share."""


@dataclass(frozen=True, slots=True)
class Device:
    """One exporter of a service."""

    exporter: str
    weight: float = 1.0  # of the service's packets
    apart: float = 0.0  # points by which its share of QUIC lies above the service's


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that happens in [begin, end), Unix seconds on whole minutes.

    step: the share moves by ``points``; silent: an exporter (empty: all) sends nothing; sampling: it samples one
    packet in ``sampling``; unread: of its records ``part`` are of no template.
    """

    kind: Literal["step", "silent", "sampling", "unread"]
    begin: int
    end: int
    exporter: str = ""
    points: float = 0.0
    sampling: int = 1
    part: float = 0.0


@dataclass(frozen=True, slots=True)
class Trial:
    """A service, its exporters, and what happens to them."""

    service: str
    seed: int
    devices: tuple[Device, ...]
    percent: float = Q2["fixed"]  # QUIC's share of port 443
    of_all: float = Q1["fixed"] / Q2["fixed"]  # what port 443 is of everything
    an_hour: int = 10_008  # sampled packets of port 443, in the busiest hours: exactly
    valley: float = 1.0  # of the volume is left at night
    sampling: int = 1_000
    access: str = "pppoe"
    noise: Noise = field(default_factory=Noise)
    unmatched: float = 0.0  # part of an exporter's records that is of no subscriber
    events: tuple[Happening, ...] = ()


def write_trials(
    store: Store, trials: Sequence[Trial], zone: str, begin: int, end: int, *, minutes_since: int = 0,
    keep: Callable[[NDArray[np.int64]], NDArray[np.bool_]] | None = None, name: str = "",
    only: Collection[str] = TABLES,
) -> dict[str, int]:  # fmt: skip
    """Rows of [begin, end), whole steps in Unix seconds, into the tables of ``only``; returns how many went into each.

    ``minutes_since``: tables by minute begin there, that of exporters eight days before: rules look no further back
    from there.  ``keep``: of the minutes which
    ones are in the store already; with another one of the rest and another ``name`` the rest comes later.
    """
    written = dict.fromkeys(only, 0)
    for table, rows in tables(trials, zone, begin, end, minutes_since=minutes_since, keep=keep):
        if table not in only:
            continue
        for part, first in enumerate(range(0, rows.num_rows, MAX_ROWS)):
            piece = rows.slice(first, MAX_ROWS)
            store.insert(table, piece, token=f"trials/{name}/{trials[0].seed}/{table}/{begin}/{end}/{part}")
        written[table] += rows.num_rows
    return written


def tables(
    trials: Sequence[Trial], zone: str, begin: int, end: int, *, minutes_since: int = 0,
    keep: Callable[[NDArray[np.int64]], NDArray[np.bool_]] | None = None,
) -> Iterator[tuple[str, pa.Table]]:  # fmt: skip
    """The same rows by table, each in order of time."""
    if begin % STEP_SECONDS or end % STEP_SECONDS:
        raise ValueError(f"[{begin}, {end}) is not of whole steps of {STEP_SECONDS} s")
    words: dict[str, list[str]] = {name: [] for name in _LABELS}
    words["bucket"] += BUCKETS
    found: dict[str, list[Columns]] = {name: [] for name in TABLES}
    minutes = np.arange(begin, end, 60)
    kept = np.ones(len(minutes), "?") if keep is None else keep(minutes)
    for trial in trials:
        packets = _packets(trial, zone, minutes)
        packets[~kept] = 0
        _put(found, trial, packets, minutes, words, minutes_since)
    for name, parts in found.items():
        columns = {column: np.concatenate([part[column] for part in parts]) for column in parts[0]}
        order = np.argsort(columns["time"], kind="stable")
        yield name, _table(columns, order, words)


def _packets(trial: Trial, zone: str, minutes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sampled packets by (minute, device, direction, bucket)."""
    times = minutes[::_MINUTES_A_STEP]
    random = np.random.default_rng((trial.seed, 72))
    share = wandering(trial.percent, trial.noise, times, zone, trial.seed)
    level = volume(times, zone, trial.valley)
    weights = np.array([device.weight for device in trial.devices])
    parts = (weights[:, None] * np.array(_DIRECTIONS)).ravel()
    of_step = np.rint(trial.an_hour / 12 * level).astype("i8")
    web = dealt(of_step, parts).reshape(len(times), len(weights), 2)
    rest = random.poisson(web * (1 / trial.of_all - 1))
    # By minute, so that an exporter may fall silent within a step.
    web, rest = _by_minute(web), _by_minute(rest)
    web, rest = _seen(trial, minutes, web), _seen(trial, minutes, rest)
    apart = np.array([device.apart for device in trial.devices]) / 100
    chance = np.repeat(share, _MINUTES_A_STEP)[:, None] + _moved(trial, minutes)[:, None] + apart
    quic = random.binomial(web, np.clip(chance, 0, 1)[:, :, None])
    return np.stack([quic, web - quic, rest], axis=-1)


def _by_minute(packets: NDArray[np.int64]) -> NDArray[np.int64]:
    split = dealt(packets, np.ones(_MINUTES_A_STEP))
    return np.moveaxis(split, -1, 1).reshape(-1, *packets.shape[1:])


def _during(event: Happening, minutes: NDArray[np.int64]) -> NDArray[np.bool_]:
    return (minutes >= event.begin) & (minutes < event.end)


def _moved(trial: Trial, minutes: NDArray[np.int64]) -> NDArray[np.float64]:
    """By how much the share of each minute is another, 0 to 1."""
    moved = np.zeros(len(minutes))
    for event in trial.events:
        if event.kind == "step":
            moved[_during(event, minutes)] += event.points / 100
    return moved


def _seen(trial: Trial, minutes: NDArray[np.int64], packets: NDArray[np.int64]) -> NDArray[np.int64]:
    """What is left of (minute, device, direction) by what happens to the devices."""
    found = packets.copy()
    for event in trial.events:
        which = np.flatnonzero([event.exporter in ("", device.exporter) for device in trial.devices])
        rows = np.flatnonzero(_during(event, minutes))
        if event.kind == "silent":
            found[np.ix_(rows, which)] = 0
        elif event.kind == "sampling":
            found[np.ix_(rows, which)] = found[np.ix_(rows, which)] * trial.sampling // event.sampling
        elif event.kind == "unread":
            found[np.ix_(rows, which)] = np.rint(found[np.ix_(rows, which)] * (1 - event.part)).astype("i8")
    return found


def _by_device(
    trial: Trial, minutes: NDArray[np.int64], kind: str, usual: float, value: Callable[[Happening], float]
) -> NDArray[np.float64]:
    """A value of each (minute, device), another one during events of a kind."""
    found = np.full((len(minutes), len(trial.devices)), usual, "f8")
    for event in trial.events:
        if event.kind == kind:
            for at, device in enumerate(trial.devices):
                if event.exporter in ("", device.exporter):
                    found[_during(event, minutes), at] = value(event)
    return found


def _put(
    found: dict[str, list[Columns]], trial: Trial, packets: NDArray[np.int64], minutes: NDArray[np.int64],
    words: dict[str, list[str]], minutes_since: int,
) -> None:  # fmt: skip
    """Append the trial's columns of every table."""
    sampling = _by_device(trial, minutes, "sampling", trial.sampling, lambda event: event.sampling).astype("i8")
    unread = _by_device(trial, minutes, "unread", 0, lambda event: event.part)
    exporters = np.array([_place(words["exporter"], device.exporter) for device in trial.devices])
    service, access = _place(words["service"], trial.service), _place(words["access"], trial.access)
    estimated = packets * sampling[:, :, None, None]

    def buckets(seen: NDArray[np.int64], true: NDArray[np.int64], times: NDArray[np.int64]) -> Columns:
        step, device, direction, bucket = np.nonzero(seen)
        fixed = np.ones(len(step), "i8")
        return {
            "time": times[step], "exporter": exporters[device], "service": fixed * service, "access": fixed * access,
            "ip_version": fixed * 4, "direction": direction + 1, "bucket": bucket, **_measures(seen[step, device,
            direction, bucket], true[step, device, direction, bucket]),
        }  # fmt: skip

    def of_steps(counts: NDArray[np.int64]) -> NDArray[np.int64]:
        summed: NDArray[np.int64] = counts.reshape(-1, _MINUTES_A_STEP, *counts.shape[1:]).sum(axis=1)
        return summed

    found["bucket_end_5m"].append(buckets(of_steps(packets), of_steps(estimated), minutes[::_MINUTES_A_STEP]))
    late = minutes >= minutes_since
    found["bucket_1m"].append(buckets(packets[late], estimated[late], minutes[late]))
    whole, true = packets.sum(axis=(2, 3)), estimated.sum(axis=(2, 3))
    whole[minutes < minutes_since - _EXPORTERS_BACK] = 0
    minute, device = np.nonzero(whole)
    rows, zero = whole[minute, device], np.zeros(len(minute), "i8")
    of_exporter = {"time": minutes[minute], "exporter": exporters[device]}
    interval = sampling[minute, device]
    strange = np.random.default_rng((trial.seed, 73)).binomial(rows, trial.unmatched)
    found["exporter_1m"].append(
        of_exporter | _measures(rows, true[minute, device]) | dict.fromkeys((
            "unknown_rate_flows", "unknown_rate_octets", "implausible_flows", "other_point_flows",
            "other_point_octets_est", "flagged_flows",
        ), zero) | {
            "unmatched_flows": strange, "unmatched_octets_est": strange * interval * _OCTETS,
            "min_sampling": interval, "max_sampling": interval,
            "sampling_sources": zero + (1 << int(SamplingSource.DOMAIN)),
        }
    )  # fmt: skip
    # Beside each set that is read, those that waited for their template in vain.
    lost = unread[minute, device]
    recent = minutes[minute] >= minutes_since
    datagrams = -(-rows // _FLOWS_A_DATAGRAM)
    dropped = np.rint(datagrams * lost / np.maximum(1 - lost, 1e-9)).astype("i8")
    for counter, value in {
        "datagrams": datagrams + dropped, "datagrams_decoded": datagrams + dropped, "sets": datagrams + dropped,
        "sets_decoded": datagrams, "sets_held": dropped, "held_dropped_expired": dropped, "records_flow": rows,
        "rows": rows,
    }.items():  # fmt: skip
        there = np.flatnonzero(recent & (value > 0))
        found["exporter_health_1m"].append({
            "time": minutes[minute[there]], "exporter": exporters[device[there]], "value": value[there],
            "counter": np.full(len(there), _place(words.setdefault("counter", []), counter)),
        })  # fmt: skip
    for stage in ("decoded", "published", "enriched", "inserted"):
        there = np.flatnonzero(recent)
        found["audit_1m"].append({
            "time": minutes[minute[there]], "exporter": exporters[device[there]], "rows": rows[there],
            "stage": np.full(len(there), _place(words.setdefault("stage", []), stage)),
        })  # fmt: skip


def _place(words: list[str], word: str) -> int:
    """Of a word in a list that grows."""
    if word not in words:
        words.append(word)
    return words.index(word)


def _measures(packets: NDArray[np.int64], estimated: NDArray[np.int64]) -> Columns:
    """Where one packet in many is counted, nearly each is a flow by itself."""
    return {
        "flows": packets, "packets": packets, "packets_est": estimated, "octets": packets * _OCTETS,
        "octets_est": estimated * _OCTETS,
    }  # fmt: skip


_TYPES = {"time": "u4", "ip_version": "u1", "direction": "u1", "min_sampling": "u4", "max_sampling": "u4",
          "sampling_sources": "u2"}  # fmt: skip


def _table(columns: Columns, order: NDArray[np.int64], words: dict[str, list[str]]) -> pa.Table:
    found = {}
    for name, values in columns.items():
        ordered = values[order]
        if name in words:
            found[name] = pa.DictionaryArray.from_arrays(pa.array(ordered.astype("i4")), pa.array(words[name]))
        else:
            found[name] = pa.array(ordered.astype(_TYPES.get(name, "i8")))
    return pa.table(found)

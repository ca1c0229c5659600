"""What incidents do to the mix of flows, in exact sums."""

import numpy as np
import pytest
from numpy.typing import NDArray

from flowtide.simulator.incidents import Incidents
from flowtide.simulator.kinds import KINDS
from flowtide.simulator.scenario import Incident
from flowtide.simulator.traffic import DRAWN

BEGIN_MS = 1_717_340_400_000
HOUR_MS = 3_600_000
NAMES = [kind.name for kind in KINDS]
TCP, UDP, ESP = NAMES.index("TCP/443"), NAMES.index("UDP/443"), NAMES.index("ESP")


def flows(hour: float, n: int = 6_000) -> NDArray[np.void]:
    """Of TCP 53.8, of UDP 21.0 and of ESP 25.2 parts, as table 3 of 2024 has the first two; flows of all sizes."""
    made = np.zeros(3 * n, DRAWN)
    size = np.tile(np.arange(1, n + 1), 3) * 10_000
    parts = np.repeat([53.8, 21.0, 25.2], n)
    made["kind"], made["proto"] = np.repeat([TCP, UDP, ESP], n), np.repeat([6, 17, 50], n)
    made["octets"] = size * parts / 10
    made["packets"] = made["octets"] // 1_000 + 1
    made["end_ms"] = BEGIN_MS + int(hour * HOUR_MS)
    made["start_ms"] = made["end_ms"] - 1_000
    return made


def q2(found: NDArray[np.void]) -> float:
    tcp, udp = (int(found["octets"][found["proto"] == proto].sum()) for proto in (6, 17))
    return 100 * udp / (tcp + udp)


def incidents(**values: object) -> Incidents:
    return Incidents([Incident.model_validate({"begin": "2h", "end": "3h", **values})], BEGIN_MS, 2024)


@pytest.mark.parametrize("points", [8.0, -8.0, 3.0])
@pytest.mark.parametrize("split", [True, False])
def test_a_step_moves_so_many_points_of_port_443(points: float, split: bool) -> None:
    before = flows(2.5)
    made = incidents(kind="quic_step", points=points)
    after = made.mixed(before.copy(), "fixed", np.random.default_rng(1), split=split)
    # 21.0 of 74.8.  Whole flows are drawn: 12,000 of mixed sizes, some 0.6 points of error.
    assert q2(before) == pytest.approx(28.07, abs=0.01)
    assert q2(after) - q2(before) == pytest.approx(points, abs=0.01 if split else 2)
    assert after["octets"].sum() == before["octets"].sum()
    assert after["packets"].sum() == before["packets"].sum()
    assert (after["packets"] > 0).all()
    assert (after["octets"] > 0).all()
    assert after["octets"][after["proto"] == 50].sum() == before["octets"][before["proto"] == 50].sum()
    assert (np.diff(after["end_ms"]) >= 0).all()
    assert len(after) == (len(before) + 6_000 if split else len(before))
    assert ((after["kind"] == UDP) == (after["proto"] == 17)).all()


def test_a_block_turns_quic_into_tcp() -> None:
    before = flows(2.5)
    after = incidents(kind="quic_block").mixed(before.copy(), "fixed", np.random.default_rng(1), split=True)
    assert q2(after) == 0
    assert after["octets"].sum() == before["octets"].sum()
    assert (after["tcp_flags"][before["kind"] == UDP] > 0).all()


@pytest.mark.parametrize("hour", [1.999, 3.0])
def test_nothing_changes_before_and_behind(hour: float) -> None:
    before = flows(hour)
    for kind in ("quic_step", "quic_block"):
        made = incidents(kind=kind, points=8)
        assert made.mixed(before.copy(), "fixed", np.random.default_rng(1), split=True).tobytes() == before.tobytes()


def test_the_other_service_is_left_alone() -> None:
    before, made = flows(2.5), incidents(kind="quic_block", service="mobile")
    assert made.mixed(before.copy(), "fixed", np.random.default_rng(1), split=True).tobytes() == before.tobytes()
    assert q2(made.mixed(before.copy(), "mobile", np.random.default_rng(1), split=True)) == 0


def test_the_interval_changes_at_one_exporter_from_begin_to_end() -> None:
    made = incidents(kind="sampling_change", exporter="127.0.0.2", sampling=500)
    at = BEGIN_MS + np.array([0, 2 * HOUR_MS - 1, 2 * HOUR_MS, 3 * HOUR_MS - 1, 3 * HOUR_MS])
    assert made.sampling("127.0.0.2", 100, at).tolist() == [100, 100, 500, 500, 100]
    assert made.sampling("127.0.0.3", 100, at).tolist() == [100] * 5


def test_an_incident_without_end_or_exporter_is_of_all() -> None:
    made = Incidents([Incident(kind="exporter_silent", begin=60)], BEGIN_MS, 2024)
    assert made.at("exporter_silent", "127.0.0.9", BEGIN_MS + 59_999) is None
    assert made.at("exporter_silent", "127.0.0.9", BEGIN_MS + 10**12) is not None
    assert made.at("clock_skew", "127.0.0.9", BEGIN_MS + 10**12) is None

"""A real broker: processes that die, and processes that stand still and come back late, at every point of the path."""

import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.broker import Broker
from tests.kill_matrix.trial import Member, Order, Trial

# The client leaves sockets to the collector of garbage.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <:ResourceWarning")

SHIPPER = ("before produce", "after send", "after acknowledgement", "before commit", "after commit")
POINTS = {
    "collector": ("before produce", "while producing", "after acknowledgement"),
    "shipper": SHIPPER,
    "enricher": SHIPPER,
    "sink": (
        "before insert", "mid-insert", "after flows", "after audit_1m", "before commit", "after commit",
        "before plan", "after plan", "between rollups",
    ),
}  # fmt: skip
STORE_POINTS = ("mid-insert", "after flows", "between rollups")
"""Where the store dies under a sink that lives: in the middle of a message over several days, too."""
LATE_SECONDS = 1.0
"""How long the one that took over goes on before the other one comes back."""


def orders_of(role: str, points: Sequence[str], chance: random.Random, how: str) -> list[Order]:
    """In random order; between rollups is after the first, the second or the third of them."""
    found = [(f"{role} {point}", chance.randint(1, 3 if point == "between rollups" else 2), how) for point in points]
    chance.shuffle(found)
    return found


@contextmanager
def in_threads(*works: Callable[[], None]) -> Iterator[None]:
    """All at once; the first failure is raised."""
    failures: list[BaseException] = []

    def run(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


class Keeper:
    """Starts the store again whenever somebody killed it."""

    def __init__(self, store: Member) -> None:
        self._store, self._done = store, threading.Event()

    def run(self) -> None:
        while not self._done.wait(0.05):
            if not self._store.alive:
                self._store.start()

    def end(self) -> None:
        self._done.set()


def begin(trial: Trial) -> None:
    trial.store.start()
    trial.wait(lambda: trial.store.said("listening"), "the store answers")


def kills(trial: Trial, points: dict[str, list[str]], store_points: Sequence[str]) -> dict[str, object]:
    """Each role dies at its points, one life each, all roles at once; the store dies at its own."""
    chance = random.Random(trial.seed)
    begin(trial)
    members = {role: trial.member(role, role) for role in ("collector", "shipper", "enricher", "sink")}
    keeper = Keeper(trial.store)

    def die(role: str, orders: list[Order], before: list[Order]) -> None:
        member = members[role]
        for number, order in enumerate(orders):
            # What is left for the store to die at goes to the lives evenly.
            first = before[number * len(before) // len(orders) : (number + 1) * len(before) // len(orders)]
            member.start([*first, order])
            assert member.wait() == -signal.SIGKILL, (order, member.tail())
        member.start()

    with in_threads(keeper.run):
        try:
            plans = [
                (role, orders_of(role, points.get(role, ()), chance, "KILL"),
                 orders_of("sink", store_points, chance, "STORE") if role == "sink" else [])
                for role in members
            ]  # fmt: skip
            with in_threads(*(partial(die, *plan) for plan in plans)):
                pass
            found = trial.finish(members["collector"])
        finally:
            keeper.end()
    died = {role: len([how for how in member.said("how") if how == "KILL"]) for role, member in members.items()}
    assert died == {role: len(points.get(role, ())) for role in members}
    store = len([how for how in members["sink"].said("how") if how == "STORE"])
    assert store == len(store_points)
    return {"kills": died, "store kills": store, **found}


def is_beyond(trial: Trial, role: str, far: Sequence[int]) -> bool:
    return all(now >= wanted for now, wanted in zip(trial.progress(role), far, strict=True))


def has_revived(member: Member, times: int) -> bool:
    return len(member.said("revived")) == times


def stops(trial: Trial, points: dict[str, list[str]]) -> dict[str, object]:
    """One of two members stands still at each point until the other has its work, and then acts late."""
    chance = random.Random(trial.seed)
    begin(trial)
    collector, shipper = trial.member("collector", "collector"), trial.member("shipper", "shipper")
    pairs = {role: [trial.member(role, f"{role}{number}") for number in range(2)] for role in ("enricher", "sink")}
    plans = {role: orders_of(role, points.get(role, ()), chance, "STOP") for role in (*pairs, "shipper")}
    taken: dict[str, int] = dict.fromkeys(plans, 0)

    def revive(role: str, member: Member) -> None:
        for order in plans[role]:
            trial.wait(member.stopped, f"{member.name} stops: {order}")
            if role == "shipper":  # nobody takes over; what is in flight waits
                time.sleep(chance.uniform(1.0, 7.0))
            else:
                far = [position + 2 for position in trial.progress(role)]  # one may still come of it itself
                trial.wait(partial(is_beyond, trial, role, far), f"the other {role} takes over at {order}")
                time.sleep(chance.uniform(0.0, LATE_SECONDS))
            assert member.stopped()
            taken[role] += 1
            member.signal(signal.SIGCONT)
            trial.wait(partial(has_revived, member, taken[role]), f"{member.name} goes on")

    for role, pair in pairs.items():
        pair[0].start(plans[role])
        pair[1].start()
    shipper.start(plans["shipper"])
    collector.start()
    members = {"shipper": shipper, **{role: pair[0] for role, pair in pairs.items()}}
    with in_threads(*(partial(revive, role, member) for role, member in members.items())):
        pass
    for member in members.values():
        assert member.lives == 1
    return {"stops": taken, **trial.finish(collector)}


@pytest.fixture
def new_trial(broker: Broker, tmp_path: Path) -> Iterator[Callable[[int], Trial]]:
    made: list[Trial] = []

    def make(seed: int) -> Trial:
        made.append(Trial(broker, tmp_path, seed))
        return made[-1]

    yield make
    for trial in made:
        trial.close()


@pytest.mark.soak
def test_a_kill_at_telling_points(new_trial: Callable[[int], Trial]) -> None:
    points = {"collector": ["while producing"], "shipper": ["after send"], "enricher": ["after send"],
              "sink": ["between rollups"]}  # fmt: skip
    found = kills(new_trial(1), points, ["mid-insert"])
    print(found)


@pytest.mark.soak
def test_a_stop_at_telling_points(new_trial: Callable[[int], Trial]) -> None:
    found = stops(new_trial(2), {"enricher": ["before produce"], "sink": ["after plan"]})
    print(found)
    assert found["overlaps"], "the late append is not in the log"


@pytest.mark.soak
def test_eight_kills_at_every_point(new_trial: Callable[[int], Trial]) -> None:
    found = kills(new_trial(11), {role: list(names) * 8 for role, names in POINTS.items()}, STORE_POINTS * 8)
    print(found)
    assert found["repeats"], "no shipper said anything again"
    assert found["overlaps"] is not None


@pytest.mark.soak
@pytest.mark.parametrize("seed", [21, 22])
def test_stops_at_every_point(seed: int, new_trial: Callable[[int], Trial]) -> None:
    points = {role: list(names) for role, names in POINTS.items() if role != "collector"}
    found = stops(new_trial(seed), points)
    print(found)
    assert found["overlaps"], "the late append is not in the log"
    assert found["refused commits"], "no late commit was refused"


@pytest.mark.soak
def test_sinks_join_and_leave_while_the_store_dies(new_trial: Callable[[int], Trial]) -> None:
    trial = new_trial(31)
    chance = random.Random(31)
    begin(trial)
    collector = trial.member("collector", "collector")
    for member in (collector, trial.member("shipper", "shipper"), trial.member("enricher", "enricher")):
        member.start()
    steady = trial.member("sink", "sink0")
    steady.start()
    guests = [trial.member("sink", f"guest{number}", static=number > 1) for number in range(3)]
    keeper, until, deaths = Keeper(trial.store), time.monotonic() + 90, 0
    changes = dict.fromkeys(("join", "leave", "kill"), 0)
    with in_threads(keeper.run):
        try:
            while time.monotonic() < until:
                guest = chance.choice(guests)
                if not guest.alive:
                    guest.start()
                    changes["join"] += 1
                elif chance.random() < 0.6:
                    guest.signal(signal.SIGTERM)
                    changes["leave"] += 1
                else:
                    guest.end()
                    changes["kill"] += 1
                time.sleep(chance.uniform(0.5, 4.0))
                if trial.store.alive and chance.random() < 0.4:
                    trial.store.signal(signal.SIGKILL)
                    deaths += 1
            found = trial.finish(collector)
        finally:
            keeper.end()
    print({"changes": changes, "store kills": deaths, "generations": len(steady.said("assigned")), **found})
    assert deaths
    assert all(changes.values())
    assert len(steady.said("assigned")) > len(guests), "the group never changed"

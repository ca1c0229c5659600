"""Members of a group over a real broker: who has what, and nobody works on what another has now."""

import contextlib
import time
from dataclasses import replace

import kafka
import kafka.admin
import pytest

from sinks import RAW_STREAM, BusUnavailable, Committed, GenerationLost
from sinks.kafka import KafkaBus
from sinks.kafka_client import MemberTaken
from sinks.kafka_consumer import KafkaConsumer
from tests.broker import Broker
from tests.broker.buses import QUICK, bus_of, lost, partitions_of, prefix, read, until

# The client leaves sockets to the collector of garbage when a connection is refused or cut off.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <:ResourceWarning")


def publish(bus: KafkaBus, count: int) -> None:
    with contextlib.closing(bus.producer(RAW_STREAM)) as producer:
        for number in range(count):
            for partition in range(bus.partitions):
                producer.publish(partition, {"n": str(number)}, b"x")


def test_a_second_member_takes_half_and_the_first_begins_again(broker: Broker) -> None:
    bus = bus_of(broker)
    publish(bus, 20)
    with contextlib.closing(bus.consumer(RAW_STREAM, "split")) as first:
        assert partitions_of(first) == (0, 1)
        for partition in (0, 1):
            first.seek(partition, 0)
        assert first.poll(1, 10)  # the rest is read ahead
        with contextlib.closing(bus.consumer(RAW_STREAM, "split")) as second:
            theirs = partitions_of(second)
            assert lost(first)
            for call in (lambda: first.commit(0, 1, ""), lambda: first.committed(0), lambda: first.seek(0, 0),
                         lambda: first.bounds(0), lambda: first.poll(1, 0)):  # fmt: skip
                with pytest.raises(GenerationLost):
                    call()
            ours = partitions_of(first)
            assert sorted((*ours, *theirs)) == [0, 1]
            assert first.poll(1 << 20, 0.5) == ()  # nothing of the old generation, and nothing before a seek
            first.seek(ours[0], 18)
            assert [(message.partition, message.offset) for message in read(first, 2)] == [(ours[0], 18), (ours[0], 19)]
        assert lost(first)  # the second left
        assert until(lambda: first.assigned() == (0, 1))


def test_a_member_without_partitions_waits_and_steps_in(broker: Broker) -> None:
    bus = bus_of(broker, partitions=1)
    publish(bus, 1)
    first = bus.consumer(RAW_STREAM, "many")
    assert partitions_of(first) == (0,)
    with contextlib.closing(bus.consumer(RAW_STREAM, "many")) as second:
        members = (first, second)

        def idle_for_a_while() -> tuple[KafkaConsumer, KafkaConsumer] | None:
            """Holder and idle one of a generation that outlasts a poll; forming one may take the group two rounds."""
            holding = [bool(member.assigned()) for member in members]
            if sum(holding) != 1:
                return None
            idle, began = members[holding.index(False)], time.monotonic()
            try:
                assert idle.poll(1 << 20, 0.3) == ()
            except GenerationLost:
                return None
            assert 0.2 < time.monotonic() - began < 2.0
            return members[holding.index(True)], idle

        holder, idle = until(idle_for_a_while)
        holder.close()
        assert until(idle.assigned) == (0,)
        idle.seek(0, 0)
        assert len(read(idle, 1)) == 1
        idle.close()


def test_a_service_that_is_busy_for_long_is_not_evicted(broker: Broker) -> None:
    """The store is down for 30 minutes, here three times the longest pause between two polls."""
    bus = bus_of(broker, limits=replace(QUICK, max_poll_seconds=1.0))
    publish(bus, 3)
    with contextlib.closing(bus.consumer(RAW_STREAM, "busy")) as consumer:
        for partition in partitions_of(consumer):
            consumer.seek(partition, 0)
        messages = read(consumer, 1)
        time.sleep(3.0)
        consumer.commit(messages[0].partition, 1, "done")  # the same generation
        assert consumer.committed(messages[0].partition) == Committed(1, "done")


def test_a_named_member_restarts_without_disturbing_the_other(broker: Broker) -> None:
    name = prefix()
    other_bus = bus_of(broker, name, member="b")
    with contextlib.closing(bus_of(broker, name, member="a").consumer(RAW_STREAM, "named")) as first:
        partitions_of(first)
        other = other_bus.consumer(RAW_STREAM, "named")
        assert lost(first)
        ours = partitions_of(first)
        theirs = partitions_of(other)
        assert sorted((*ours, *theirs)) == [0, 1]
        other.close()
        with contextlib.closing(bus_of(broker, name, member="b").consumer(RAW_STREAM, "named")) as again:
            assert partitions_of(again) == theirs
            assert not lost(first, seconds=1.0)
            first.commit(ours[0], 0, "still mine")


def test_two_processes_of_one_name_do_not_both_commit(broker: Broker) -> None:
    """A stopped process whose successor runs is revived: it must not write, and says why."""
    name = prefix()
    with contextlib.closing(bus_of(broker, name, member="a").consumer(RAW_STREAM, "one")) as zombie:
        partitions_of(zombie)
        zombie.commit(0, 0, "before")
        with contextlib.closing(bus_of(broker, name, member="a").consumer(RAW_STREAM, "one")) as successor:
            partitions_of(successor)
            successor.commit(0, 7, "successor")
            with pytest.raises((MemberTaken, GenerationLost)):
                zombie.commit(0, 1, "zombie")
            with pytest.raises(BusUnavailable, match="another process"):
                until(zombie.assigned)
            assert successor.committed(0) == Committed(7, "successor")


def test_a_member_that_was_away_too_long_cannot_commit(broker: Broker) -> None:
    bus = bus_of(broker)
    with contextlib.closing(bus.consumer(RAW_STREAM, "away")) as first:
        partitions_of(first)
        first.commit(0, 0, "first")
        # As after a stop longer than the session: the group goes on without it, and it does not know yet.
        coordinator = first._client._coordinator
        member = coordinator.group_metadata().member_id
        admin = kafka.KafkaAdminClient(bootstrap_servers=broker.address)
        admin.remove_group_members("away", [kafka.admin.MemberToRemove(member_id=member)])
        admin.close()
        with pytest.raises(GenerationLost):
            for _ in range(50):
                first.commit(0, 1, "late")
                time.sleep(0.1)
        partitions = partitions_of(first)
        assert first.committed(partitions[0]) == Committed(0, "first")

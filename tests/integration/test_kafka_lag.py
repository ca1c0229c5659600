"""How far a group has come and whether it is at work, asked of a real broker without joining it."""

import contextlib

import pytest

from sinks import ENRICHED_STREAM
from sinks.kafka_lag import members, unread
from tests.broker import Broker
from tests.broker.buses import QUICK, bus_of, partitions_of, until

# The client leaves sockets to the collector of garbage when a connection is refused or cut off.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <:ResourceWarning")


def test_what_a_group_has_not_committed_and_who_is_in_it(broker: Broker) -> None:
    bus = bus_of(broker)
    settings = (bus._settings, bus._kafka)
    with contextlib.closing(bus.producer(ENRICHED_STREAM)) as producer:
        for _ in range(3):
            producer.publish(0, {}, b"x")
        producer.publish(1, {}, b"x")
    assert unread(*settings, ENRICHED_STREAM, "lag", QUICK) == 4  # never committed: all of it
    assert members(*settings, ("lag", "lag-of-nobody"), QUICK) == 0
    with contextlib.closing(bus.consumer(ENRICHED_STREAM, "lag")) as consumer:
        assert partitions_of(consumer) == (0, 1)
        assert members(*settings, ("lag", "lag-of-nobody"), QUICK) == 1
        consumer.commit(0, 2, "")
        assert unread(*settings, ENRICHED_STREAM, "lag", QUICK) == 2
        consumer.commit(0, 3, "")
        consumer.commit(1, 1, "")
        assert unread(*settings, ENRICHED_STREAM, "lag", QUICK) == 0
    assert until(lambda: members(*settings, ("lag",), QUICK) == 0)

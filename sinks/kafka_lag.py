"""Who reads a topic, and how far a group has come, without joining it."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import kafka
import kafka.admin
import kafka.errors

from sinks import BusUnavailable
from sinks.kafka_client import ClientHung, KafkaError, Limits, arguments, bounded, take_client_log
from sinks.settings import BusSettings, KafkaSettings

_CLIENT = "flowtide-lag"


def members(bus: BusSettings, settings: KafkaSettings, groups: Sequence[str], limits: Limits | None = None) -> int:
    """How many members the groups have together; one that just stopped counts until its session ends."""
    limits = limits or Limits()
    given = arguments(bus, settings, limits, _CLIENT)

    def ask() -> int:
        client = kafka.admin.KafkaAdminClient(**given)
        try:
            return sum(len(found["members"]) for found in client.describe_groups(list(groups)).values())
        finally:
            client.close()

    return int(_asked(ask, limits))


def unread(bus: BusSettings, settings: KafkaSettings, stream: str, group: str, limits: Limits | None = None) -> int:
    """How many messages of a stream the group has not committed."""
    limits = limits or Limits()
    given = arguments(bus, settings, limits, _CLIENT)
    topic = settings.topic_prefix + stream
    return int(_asked(partial(_unread, given, topic, group, bus.partitions), limits))


def _unread(given: dict[str, Any], topic: str, group: str, partitions: int) -> int:
    client = kafka.KafkaConsumer(**given, group_id=group, enable_auto_commit=False, allow_auto_create_topics=False)
    try:
        places = [kafka.TopicPartition(topic, number) for number in range(partitions)]
        first, ends = client.beginning_offsets(places), client.end_offsets(places)
        found = 0
        for place in places:
            committed = client.committed(place)
            found += max(0, ends[place] - (first[place] if committed is None else committed))
        return found
    finally:
        client.close()


def _asked(work: Any, limits: Limits) -> Any:
    take_client_log()
    try:
        return bounded(work, limits.hung_seconds, "positions of groups")
    except ClientHung as hung:
        raise BusUnavailable(str(hung)) from hung
    except kafka.errors.AuthorizationError as error:
        raise KafkaError(
            f"the user may not see the groups: {error!r}; grant Describe on the groups enricher and sink"
        ) from error
    except kafka.errors.KafkaError as error:
        raise BusUnavailable(f"the brokers do not tell positions of groups: {error!r}") from error

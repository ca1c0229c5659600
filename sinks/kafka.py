"""The bus over Kafka: the same protocols as the spool, behind which the same code decides what counts.

``flows.raw`` and ``flows.enriched`` are topics with the same number of partitions.  What Kafka does differently is
said by exceptions: an acknowledgement that does not come (``Unacknowledged``), partitions given to somebody else
(``GenerationLost``), brokers that do not answer (``BusUnavailable``).
"""

import socket
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import kafka
import structlog

from sinks import ENRICHED_STREAM, RAW_STREAM, BusUnavailable
from sinks.kafka_client import (
    MAX_MESSAGE_BYTES,
    ClientHung,
    KafkaError,
    Limits,
    arguments,
    bounded,
    take_client_log,
)
from sinks.kafka_consumer import KafkaConsumer
from sinks.kafka_producer import Appender, KafkaProducer, connect
from sinks.kafka_topics import Found, Topics, compacted, judge, judge_compacted, wanted
from sinks.settings import BusSettings, KafkaSettings

log = structlog.get_logger("sinks.kafka")


class KafkaBus:
    """Streams that are topics; one a process."""

    def __init__(
        self, settings: BusSettings, kafka: KafkaSettings, member: str = "", limits: Limits | None = None,
        *, compacted_topics: Iterable[str] = (),
    ) -> None:  # fmt: skip
        """``member`` names this process among its group's over restarts; empty: a new one each time.

        ``compacted_topics`` are further ones that ``prepare`` makes; who reads them says what is wrong with them.

        Nothing is connected yet; KafkaError when the settings are wrong or crc32c is missing.
        """
        self._settings, self._kafka, self._member = settings, kafka, member
        self._limits = limits or Limits()
        self._arguments = arguments(settings, kafka, self._limits, member or f"flowtide-{socket.gethostname()}")
        self._identities: dict[str, str] = {}
        self._compacted = tuple(compacted(topic, kafka) for topic in compacted_topics)
        take_client_log()

    @property
    def partitions(self) -> int:
        """The number of partitions; the same for both topics."""
        return self._settings.partitions

    def topic(self, stream: str) -> str:
        """The topic's name."""
        return self._kafka.topic_prefix + stream

    def prepare(self, say: Callable[[str], None]) -> None:
        """Say what will be made, make it, and check what is there.

        KafkaError with what to run when it does not fit; BusUnavailable.
        """
        try:
            bounded(partial(self._prepare, say), 2 * self._limits.hung_seconds, "topics")
        except ClientHung as hung:
            raise BusUnavailable(str(hung)) from hung

    def _prepare(self, say: Callable[[str], None]) -> None:
        wants = wanted(self._settings, self._kafka)
        with Topics(self._arguments, self._limits.answer_seconds) as topics:
            found = topics.find([want.name for want in wants])
            missing = [want for want in wants if want.name not in found]
            for want in missing:
                if not self._kafka.create_topics:
                    raise KafkaError(
                        f"topic {want.name} does not exist and kafka.create_topics is off; run: {want.command}"
                    )
                say(f"create topic {want.name}: {want.partitions} partitions, {want.replication} replicas, "
                    f"kept {want.retention_ms // 3_600_000} h")  # fmt: skip
            for want in missing:
                topics.create(want)
            if missing:
                found |= topics.find([want.name for want in missing])
            self._prepare_compacted(topics, say)
        errors = []
        for want in wants:
            if want.name not in found:
                raise BusUnavailable(f"topic {want.name} was created and is not there yet")
            refusals, warnings = judge(want, found[want.name])
            errors += refusals
            for text in warnings:
                say(f"warning: {text}")
                log.warning("topic", text=text)
        if errors:
            raise KafkaError("; ".join(errors))
        for stream in (RAW_STREAM, ENRICHED_STREAM):
            self._identities[stream] = found[self.topic(stream)].identity

    def _prepare_compacted(self, topics: Topics, say: Callable[[str], None]) -> None:
        """Flows go on without them, so nothing here is an error."""
        found = topics.find([want.name for want in self._compacted]) if self._compacted else {}
        for want in self._compacted:
            if want.name in found:
                for text in judge_compacted(want, found[want.name]):
                    say(f"warning: {text}")
            elif self._kafka.create_topics:
                say(f"create topic {want.name}: compacted, {want.partitions} partition, {want.replication} replicas")
                try:
                    topics.create(want)
                except (KafkaError, BusUnavailable) as error:
                    say(f"warning: {error}")
            else:
                say(f"warning: topic {want.name} does not exist and kafka.create_topics is off; run: {want.command}")

    def stream_id(self, stream: str) -> str:
        """The topic's id: made again, it has another; BusUnavailable."""
        return self._identities.get(stream) or self._ask_identity(stream)

    def producer(self, stream: str) -> KafkaProducer:
        """Append one message at a time; BusUnavailable."""
        topic = self.topic(stream)
        return KafkaProducer(self._connect(topic), self._reader, topic, self._limits)

    def appender(self, stream: str) -> Appender:
        """Append with many messages in flight; BusUnavailable."""
        topic = self.topic(stream)
        return Appender(self._connect(topic), topic, self._kafka.in_flight_bytes, self._limits)

    def consumer(self, stream: str, group: str) -> KafkaConsumer:
        """Join a group; connects in the background, ``assigned`` is empty until then."""

        return KafkaConsumer(
            lambda: self._group_client(group), self.topic(stream), group, self.partitions,
            lambda _: self._ask_identity(stream), self._limits,
        )  # fmt: skip

    def trim(self, stream: str, partition: int, before: int) -> None:
        """Nothing: the topic's retention does it."""

    def _connect(self, topic: str) -> Any:
        work = partial(connect, self._arguments, self._limits, topic)
        return bounded(work, self._limits.hung_seconds, f"connect {topic}")

    def _ask_identity(self, stream: str) -> str:
        topic = self.topic(stream)

        def ask() -> dict[str, Found]:
            with Topics(self._arguments, self._limits.answer_seconds) as topics:
                return topics.find([topic], configs=False)

        found = bounded(ask, self._limits.hung_seconds, f"describe {topic}")
        if topic not in found:
            raise BusUnavailable(f"topic {topic} does not exist (any more)")
        self._identities[stream] = found[topic].identity
        return found[topic].identity

    def _group_client(self, group: str) -> Any:
        session_ms = int(self._kafka.session_seconds * 1000)
        return kafka.KafkaConsumer(
            **self._arguments,
            **_FETCH,
            group_id=group,
            group_instance_id=f"{self._member}-{group}" if self._member else None,
            session_timeout_ms=session_ms,
            heartbeat_interval_ms=session_ms // 10,
            max_poll_interval_ms=int(self._limits.max_poll_seconds * 1000),
        )

    def _reader(self) -> Any:
        return kafka.KafkaConsumer(**self._arguments, **_FETCH)


_FETCH: dict[str, Any] = {
    # Positions are ours: a commit happens where it is written down, with its metadata, and nowhere else.
    "enable_auto_commit": False,
    # The other two skip what they cannot find without a word.
    "auto_offset_reset": "none",
    "max_partition_fetch_bytes": MAX_MESSAGE_BYTES,
    "fetch_max_bytes": MAX_MESSAGE_BYTES,
    "fetch_max_wait_ms": 500,
    "allow_auto_create_topics": False,
    "metrics_enabled": False,
}

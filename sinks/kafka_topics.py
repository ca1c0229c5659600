"""The topics: what is wanted, what is there, and the plan from one to the other."""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import kafka
import kafka.admin
import kafka.errors

from sinks import ENRICHED_STREAM, RAW_STREAM, BusUnavailable
from sinks.kafka_client import MAX_MESSAGE_BYTES, KafkaError
from sinks.settings import BusSettings, KafkaSettings

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS
_SETTINGS = ("max.message.bytes", "retention.ms", "retention.bytes", "cleanup.policy", "min.insync.replicas")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A topic as the settings say."""

    name: str
    partitions: int
    replication: int
    retention_ms: int
    is_compacted: bool = False  # the newest value of each key stays for ever, for all who read the whole

    @property
    def configs(self) -> dict[str, str]:
        """What the topic is created with; all else is the broker's default."""
        in_sync = {"min.insync.replicas": str(1 if self.replication < 3 else 2)}
        if self.is_compacted:
            # Values hold names: what was replaced or removed is to be gone within a day.
            return {"cleanup.policy": "compact", "max.compaction.lag.ms": str(_DAY_MS), **in_sync}
        return {
            "cleanup.policy": "delete",  # compaction would make holes in the offsets
            "retention.ms": str(self.retention_ms),
            "retention.bytes": "-1",
            "max.message.bytes": str(MAX_MESSAGE_BYTES),
            # Retention counts from arrival: a producer's clock that is days behind must not delete its messages.
            "message.timestamp.type": "LogAppendTime",
            "compression.type": "producer",
            **in_sync,
        }

    @property
    def command(self) -> str:
        """How an administrator makes it."""
        configs = " ".join(f"--config {key}={value}" for key, value in self.configs.items())
        return (
            f"kafka-topics.sh --bootstrap-server HOST:PORT --create --topic {self.name} "
            f"--partitions {self.partitions} --replication-factor {self.replication} {configs}"
        )


@dataclass(frozen=True, slots=True)
class Found:
    """A topic as the broker has it."""

    identity: str
    partitions: int
    replication: int
    configs: Mapping[str, str]


def wanted(bus: BusSettings, settings: KafkaSettings) -> tuple[Wanted, ...]:
    """Both topics."""
    hours = {RAW_STREAM: settings.raw_hours, ENRICHED_STREAM: settings.enriched_hours}
    return tuple(
        Wanted(settings.topic_prefix + stream, bus.partitions, settings.replication, count * _HOUR_MS)
        for stream, count in hours.items()
    )


def compacted(topic: str, settings: KafkaSettings) -> Wanted:
    """A topic of states by key.  One partition: it is small, and its records have one order."""
    return Wanted(topic, 1, settings.replication, -1, is_compacted=True)


def judge_compacted(want: Wanted, found: Found) -> list[str]:
    """What keeps us from using a topic of states; the number of partitions is its operator's."""
    alter = f"kafka-configs.sh --bootstrap-server HOST:PORT --alter --entity-type topics --entity-name {want.name}"
    errors = []
    if found.configs.get("cleanup.policy", "delete") != "compact":
        errors.append(
            f"{want.name} is not compacted, so what it says is lost with time: {alter} --add-config"
            " cleanup.policy=compact"
        )
    in_sync = int(found.configs.get("min.insync.replicas", 1))
    if in_sync > found.replication:
        errors.append(
            f"{want.name} wants {in_sync} replicas in sync and has {found.replication}, so it takes nothing: "
            f"{alter} --add-config min.insync.replicas={max(1, found.replication - 1)}"
        )
    return errors


def judge(want: Wanted, found: Found) -> tuple[list[str], list[str]]:
    """What keeps us from using a topic, and what somebody should know."""
    errors, warnings = [], []
    alter = f"kafka-configs.sh --bootstrap-server HOST:PORT --alter --entity-type topics --entity-name {want.name}"
    if found.partitions != want.partitions:
        errors.append(
            f"{want.name} has {found.partitions} partitions, the settings say {want.partitions}: both topics need the "
            f"same number; set bus.partitions = {found.partitions}, or drain both topics and make them again"
        )
    limit = int(found.configs.get("max.message.bytes", 0))
    if limit < MAX_MESSAGE_BYTES:
        errors.append(
            f"{want.name} takes messages up to {limit} bytes, we send up to {MAX_MESSAGE_BYTES}: "
            f"{alter} --add-config max.message.bytes={MAX_MESSAGE_BYTES}"
        )
    if found.configs.get("cleanup.policy", "delete") != "delete":
        errors.append(f"{want.name} is compacted, which loses messages: {alter} --add-config cleanup.policy=delete")
    in_sync = int(found.configs.get("min.insync.replicas", 1))
    if in_sync > found.replication:
        errors.append(
            f"{want.name} wants {in_sync} replicas in sync and has {found.replication}, so it takes nothing: "
            f"{alter} --add-config min.insync.replicas={max(1, found.replication - 1)}"
        )
    retention = int(found.configs.get("retention.ms", -1))
    if 0 <= retention < want.retention_ms:
        warnings.append(
            f"{want.name} keeps {retention / _HOUR_MS:g} h, the settings say {want.retention_ms / _HOUR_MS:g} h: "
            f"{alter} --add-config retention.ms={want.retention_ms}"
        )
    if int(found.configs.get("retention.bytes", -1)) >= 0:
        warnings.append(f"{want.name} has retention.bytes: at a high rate it keeps less than the settings say")
    if found.replication < want.replication:
        warnings.append(f"{want.name} has {found.replication} replicas, the settings say {want.replication}")
    return errors, warnings


class Topics:
    """The administrator's client; made for one round of questions and closed."""

    def __init__(self, arguments: Mapping[str, Any], answer_seconds: float) -> None:
        """BusUnavailable when no broker answers."""
        self._wait_ms = int(answer_seconds * 1000)
        try:
            self._client = kafka.admin.KafkaAdminClient(**arguments)
        except kafka.errors.KafkaError as error:
            raise BusUnavailable(f"no broker of {arguments['bootstrap_servers']} answers: {error!r}") from error

    def __enter__(self) -> "Topics":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def find(self, names: Iterable[str], *, configs: bool = True) -> dict[str, Found]:
        """Those that exist; BusUnavailable."""
        try:
            return self._find(list(names), configs=configs)
        except kafka.errors.AuthorizationError as error:
            raise KafkaError(
                f"the user may not describe the topics: {error!r}; grant Describe, DescribeConfigs, Read and Write on "
                f"all of them, and Read on the groups enricher and sink"
            ) from error
        except kafka.errors.KafkaError as error:
            raise BusUnavailable(f"the brokers do not describe the topics: {error!r}") from error

    def create(self, want: Wanted) -> None:
        """Make it and wait until it has leaders; another process may have made it meanwhile."""
        spec = {"num_partitions": want.partitions, "replication_factor": want.replication, "configs": want.configs}
        try:
            self._client.create_topics({want.name: spec}, timeout_ms=self._wait_ms, wait_for_metadata=True)
        except kafka.errors.TopicAlreadyExistsError:
            return
        except (kafka.errors.InvalidReplicationFactorError, kafka.errors.PolicyViolationError,
                kafka.errors.AuthorizationError) as error:  # fmt: skip
            raise KafkaError(f"the brokers refuse to create {want.name}: {error}; run: {want.command}") from error
        except kafka.errors.KafkaError as error:
            raise BusUnavailable(f"{want.name} was not created: {error!r}") from error

    def _find(self, names: list[str], *, configs: bool) -> dict[str, Found]:
        found = {}
        for topic in self._client.describe_topics(names):
            if topic["error_code"]:
                error = kafka.errors.for_code(topic["error_code"])
                if error is kafka.errors.UnknownTopicOrPartitionError:
                    continue
                raise error(topic["name"])
            replication = min((len(part["replica_nodes"]) for part in topic["partitions"]), default=0)
            values = self._configs(topic["name"]) if configs else {}
            identity = topic["topic_id"]
            found[topic["name"]] = Found(
                (identity if isinstance(identity, uuid.UUID) else uuid.UUID(str(identity))).hex,
                len(topic["partitions"]), replication, values,
            )  # fmt: skip
        return found

    def _configs(self, name: str) -> dict[str, str]:
        resource = kafka.admin.ConfigResource(kafka.admin.ConfigResourceType.TOPIC, name, list(_SETTINGS))
        answer = self._client.describe_configs([resource], config_filter="all")
        return {key: str(entry["value"]) for key, entry in answer["topic"][name].items()}

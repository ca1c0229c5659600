"""What a topic must be, judged without a broker."""

import pytest

from sinks.kafka_client import KafkaError, Limits, arguments, servers
from sinks.kafka_topics import Found, compacted, judge, judge_compacted, wanted
from sinks.settings import BusSettings, KafkaSettings

RAW, ENRICHED = wanted(BusSettings(partitions=4), KafkaSettings(topic_prefix="noc.", replication=3, raw_hours=2))
GOOD = {"max.message.bytes": "16777216", "retention.ms": "7200000", "cleanup.policy": "delete"}


def test_the_settings_name_both_topics() -> None:
    assert (RAW.name, RAW.partitions, RAW.replication, RAW.retention_ms) == ("noc.flows.raw", 4, 3, 2 * 3600 * 1000)
    assert (ENRICHED.name, ENRICHED.retention_ms) == ("noc.flows.enriched", 72 * 3600 * 1000)
    assert "--topic noc.flows.raw --partitions 4 --replication-factor 3" in RAW.command
    assert "max.message.bytes=16777216" in RAW.command


def test_a_topic_that_fits_is_accepted_in_silence() -> None:
    assert judge(RAW, Found("id", 4, 3, GOOD)) == ([], [])
    assert judge(RAW, Found("id", 4, 3, {**GOOD, "retention.ms": "-1"})) == ([], [])


@pytest.mark.parametrize(
    ("partitions", "configs", "says"),
    [
        (3, GOOD, "set bus.partitions = 3"),
        (4, {**GOOD, "max.message.bytes": "1048588"}, "--add-config max.message.bytes=16777216"),
        (4, {**GOOD, "cleanup.policy": "compact"}, "--add-config cleanup.policy=delete"),
        (4, {**GOOD, "min.insync.replicas": "4"}, "--add-config min.insync.replicas=2"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_to_run(partitions: int, configs: dict[str, str], says: str) -> None:
    errors, warnings = judge(RAW, Found("id", partitions, 3, configs))
    assert len(errors) == 1
    assert says in errors[0]
    assert warnings == []


@pytest.mark.parametrize(
    ("replication", "configs", "says"),
    [
        (3, {**GOOD, "retention.ms": "3600000"}, "keeps 1 h, the settings say 2 h"),
        (3, {**GOOD, "retention.bytes": "1000"}, "retention.bytes"),
        (1, GOOD, "1 replicas, the settings say 3"),
    ],
)
def test_what_may_hurt_later_is_said(replication: int, configs: dict[str, str], says: str) -> None:
    errors, warnings = judge(RAW, Found("id", 4, replication, configs))
    assert errors == []
    assert len(warnings) == 1
    assert says in warnings[0]


@pytest.mark.parametrize(
    ("configs", "says"),
    [
        ({"cleanup.policy": "compact"}, []),
        ({"cleanup.policy": "delete"}, ["--entity-name leases --add-config cleanup.policy=compact"]),
        ({"cleanup.policy": "compact,delete"}, ["--entity-name leases --add-config cleanup.policy=compact"]),
        ({}, ["is not compacted"]),
        ({"cleanup.policy": "compact", "min.insync.replicas": "4"}, ["--add-config min.insync.replicas=2"]),
    ],
)
def test_a_topic_of_states_is_compacted_and_nothing_else(configs: dict[str, str], says: list[str]) -> None:
    want = compacted("leases", KafkaSettings(replication=3))
    errors = judge_compacted(want, Found("id", 12, 3, configs))
    assert len(errors) == len(says)
    assert all(text in error for text, error in zip(says, errors, strict=True))


def test_a_topic_of_states_is_made_without_an_end() -> None:
    want = compacted("leases", KafkaSettings(replication=3, topic_prefix="noc."))
    assert "--topic leases --partitions 1 --replication-factor 3 --config cleanup.policy=compact" in want.command
    assert "retention" not in want.command
    assert want.configs["min.insync.replicas"] == "2"


def test_addresses_of_brokers() -> None:
    assert servers("kafka://one:9092, [::1]:9093/") == ["one:9092", "[::1]:9093"]
    for wrong in ("kafka://", "kafka://one", "kafka://one:port", "kafka://one:9092,", "spool:/x", "one:9092"):
        with pytest.raises(KafkaError, match=r"bus\.url"):
            servers(wrong)


def test_security_is_four_protocols() -> None:
    def protocol(**settings: object) -> str:
        made = arguments(BusSettings(url="kafka://b:1"), KafkaSettings.model_validate(settings), Limits(), "me")
        return str(made["security_protocol"])

    assert protocol() == "PLAINTEXT"
    assert protocol(tls=True) == "SSL"
    assert protocol(sasl="PLAIN", user="u", password="p") == "SASL_PLAINTEXT"
    assert protocol(tls=True, sasl="SCRAM-SHA-512", user="u", password="p") == "SASL_SSL"


def test_without_the_checksum_library_nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(KafkaError, match="pip install crc32c"):
        arguments(BusSettings(url="kafka://b:1"), KafkaSettings(), Limits(), "me")

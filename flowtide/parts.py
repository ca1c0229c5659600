"""What the settings' URLs mean: which bus, which store, and who this data directory is to them."""

import secrets
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from flowtide.settings import Settings, SettingsError
from sinks import RAW_STREAM, Bus
from sinks.codec import Chosen
from sinks.segments import write_once
from sinks.spool import Spool

if TYPE_CHECKING:
    from sinks.clickhouse import ClickHouseStore
    from sinks.embedded import EmbeddedStore
    from sinks.kafka import KafkaBus
    from sinks.kafka_keyed import KeyedTopic


def is_kafka(settings: Settings) -> bool:
    """Whether the bus is Kafka; SettingsError for a URL that is neither that nor a spool."""
    url = settings.bus.url
    if url.startswith("kafka:"):
        return True
    if url.startswith("spool:"):
        return False
    raise SettingsError(f"bus.url {url!r}: write spool:DIRECTORY or kafka://HOST:PORT,HOST:PORT")


def is_embedded(settings: Settings) -> bool:
    """Whether the store is the engine in process; SettingsError for a URL that is neither that nor a server's."""
    url = settings.store.url
    if url.startswith("chdb:"):
        return True
    if url.startswith(("http://", "https://", "clickhouse://", "clickhouses://")):
        return False
    raise SettingsError(f"store.url {url!r}: write chdb:DIRECTORY, http(s)://HOST:PORT or clickhouse(s)://HOST:PORT")


def compression(settings: Settings) -> Chosen:
    """Of message bodies; what an outbox holds is for Kafka."""
    chosen = settings.bus.compression
    return "zstd" if chosen == "auto" and is_kafka(settings) else chosen


def open_bus(settings: Settings) -> Bus:
    """The bus that enricher and sink read; SpoolError, KafkaError, SettingsError."""
    return open_kafka(settings) if is_kafka(settings) else _spool(settings)


def open_kafka(settings: Settings) -> "KafkaBus":
    """The bus over Kafka, as the member that this data directory is; KafkaError."""
    from sinks.kafka import KafkaBus

    return KafkaBus(settings.bus, settings.kafka, member(settings), compacted_topics=settings.enricher.topics)


def open_topic(settings: Settings, topic: str) -> "KeyedTopic":
    """A compacted topic of the bus's brokers; KafkaError."""
    from sinks.kafka_keyed import KeyedTopic

    return KeyedTopic(settings.bus, settings.kafka, topic, f"flowtide-{member(settings)}")


def prepare_bus(bus: Bus, say: Callable[[str], None]) -> None:
    """Make and check the topics, and say what is made; BusUnavailable, KafkaError.  A spool needs nothing."""
    if isinstance(bus, Spool):
        return
    from sinks.kafka import KafkaBus

    if isinstance(bus, KafkaBus):
        bus.prepare(say)


def open_outbox(settings: Settings) -> Spool:
    """Where the collector writes: the spool, or what waits to be shipped to Kafka; SpoolError."""
    if not is_kafka(settings):
        return _spool(settings)
    folder = Path(settings.filled(settings.bus.outbox))
    return Spool(folder, settings.bus, streams=(RAW_STREAM,))


def open_store(settings: Settings) -> "EmbeddedStore | ClickHouseStore":
    """The store; nothing is asked of a server yet.  SettingsError, StoreInUse for a directory of another process."""
    chosen = settings.store
    if is_embedded(settings):
        from sinks.embedded import EmbeddedStore

        folder = settings.folder(chosen.url, "chdb")
        return EmbeddedStore(folder, memory_bytes=chosen.memory_bytes, database=chosen.database)
    if chosen.url.startswith("clickhouse"):
        raise SettingsError(f"store.url {chosen.url!r}: raw rows do not go over the native protocol, questions do "
                            "(flowtide sql): use http://HOST:8123 or https://HOST:8443 here")  # fmt: skip
    from sinks.clickhouse import ClickHouseStore

    try:
        return ClickHouseStore(
            chosen.url, user=chosen.user, password=chosen.password.get_secret_value(), database=chosen.database,
            ca_file=chosen.ca_file,
        )  # fmt: skip
    except ValueError as error:
        raise SettingsError(f"store.url: {error}") from None


def member(settings: Settings) -> str:
    """The name by which groups know this data directory over restarts; made at the first call."""
    path = settings.data / "state" / "member"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_once(path, uuid.uuid4().hex.encode())
    return path.read_text(encoding="ascii")


def admin_token_file(settings: Settings) -> Path:
    """Where ``flowtide serve`` keeps the token that it made."""
    return settings.data / "state" / "admin.token"


def with_admin_token(settings: Settings) -> Settings:
    """The settings with a token of the user admin: the one that is set, or one made at the first call."""
    if settings.http.admin_token.get_secret_value():
        return settings
    path = admin_token_file(settings)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(32), encoding="ascii")
    token = path.read_text(encoding="ascii")
    return settings.model_copy(
        update={"http": settings.http.model_copy(update={"admin_token": type(settings.http.admin_token)(token)})}
    )


def _spool(settings: Settings) -> Spool:
    return Spool(settings.folder(settings.bus.url, "spool"), settings.bus)

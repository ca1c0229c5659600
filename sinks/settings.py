"""Settings of the bus, the store and the ports; frozen, unknown keys refused."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, SecretStr


class Part(BaseModel):
    """Base of every part's settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class BusSettings(Part):
    """Where flow messages wait between the parts."""

    url: str = Field(
        "spool:{data}/bus",
        description="spool:DIRECTORY, or kafka://HOST:PORT,HOST:PORT; {data} is the data directory",
    )
    outbox: str = Field(
        "{data}/outbox", description="where a collector keeps messages until Kafka has acknowledged them"
    )
    partitions: int = Field(2, ge=1, le=1024, description="about flows a second / 100,000; fixed once made")
    compression: Literal["auto", "none", "lz4", "zstd"] = Field(
        "auto",
        description="auto: zstd to Kafka; on the spool none while readers keep up, lz4 once an eighth of a stream's"
        " share waits",
    )
    segment_bytes: PositiveInt = Field(64 << 20, description="a segment file of the spool ends here")
    max_bytes: PositiveInt = Field(
        8 << 30, description="bound of the whole spool; beyond it the collector drops, counted"
    )
    sync_seconds: float = Field(1.0, gt=0, le=60, description="how often accepted messages are flushed to the disk")
    telemetry: str = Field(
        "127.0.0.1:9110", description="HOST:PORT of the shipper's /metrics and /healthz; busy: the next free one"
    )


class KafkaSettings(Part):
    """How the brokers of ``bus.url`` are reached, and how the topics are made."""

    tls: bool = Field(default=False, description="speak TLS to the brokers")
    ca_file: str = Field("", description="PEM of the authorities trusted; empty: the system's")
    cert_file: str = Field("", description="PEM of our certificate, where brokers ask for one")
    key_file: str = Field("", description="PEM of its key")
    sasl: Literal["", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field("", description="empty: no login")
    user: str = ""
    password: SecretStr = SecretStr("")
    topic_prefix: str = Field("", description="before flows.raw and flows.enriched, on a shared cluster")
    replication: PositiveInt = Field(1, description="copies of each topic that is made; three on a cluster")
    raw_hours: PositiveInt = Field(24, description="flows.raw is kept this long: longer than the enricher ever lags")
    enriched_hours: PositiveInt = Field(72, description="flows.enriched: longer than the store is ever down")
    create_topics: bool = Field(default=True, description="make missing topics; false: refuse to start")
    session_seconds: float = Field(30.0, ge=6, le=300, description="a silent member loses its partitions after this")
    in_flight_bytes: PositiveInt = Field(32 << 20, description="sent and not acknowledged; beyond, the outbox waits")


class StoreSettings(Part):
    """Where flows come to rest."""

    url: str = Field(
        "chdb:{data}/store",
        description="chdb:DIRECTORY, http://HOST:PORT or https://HOST:PORT; {data} is the data directory",
    )
    user: str = Field("", description="of a server; empty: default. A flowtide serve knows admin")
    password: SecretStr = Field(SecretStr(""), description="of the user; of admin it is http.admin_token")
    ca_file: str = Field(
        "", description="PEM of the authorities trusted by https:// and clickhouses://; empty: the system's"
    )
    cluster: str = Field(
        "", pattern=r"^[\w.-]*$", description="a server's cluster: replicated and distributed tables; empty: plain"
    )
    database: str = Field("flowtide", pattern=r"^\w+$", description="made if it is missing")
    memory_bytes: NonNegativeInt = Field(0, description="limit of the embedded engine; 0: a quarter of the machine")
    max_bytes: NonNegativeInt = Field(0, description="bound on disk: the oldest raw rows go first; 0: none")
    networks: str = Field(
        "", description="CSV of names by prefix or asn, for SQL; checked as a whole, read again when it changes"
    )
    raw_days: NonNegativeInt = Field(
        14, description="raw flows live this long, counted from their arrival; 0: for ever"
    )
    minute_days: NonNegativeInt = Field(90, description="minute tables live this long; 0: for ever")
    table_days: dict[str, NonNegativeInt] = Field(
        {}, description="rollups that live for another time, by name, as {bucket_1h = 1100}; 0: for ever"
    )
    volume_sources: dict[str, Literal["netflow", "accounting"]] = Field(
        {},
        description='whose octets a user\'s days are made of, by service and access, as {"fixed/ipoe" = "netflow"};'
        " mobile and ipoe: accounting, the others: netflow",
    )


class SinkSettings(Part):
    """How messages become rows."""

    rollup_seconds: float = Field(
        10.0, gt=0, le=3600, description="rollups lag raw by about this much, or by twice what they take"
    )
    rollup_rows: PositiveInt = Field(5_000_000, description="and are made at once when this many rows wait")
    telemetry: str = Field(
        "127.0.0.1:9112", description="HOST:PORT of /metrics and /healthz of a sink without an HTTP port of its own"
    )
    retry_seconds: float = Field(2.0, gt=0, le=300, description="pause before an insert is tried again; up to 8 times")
    dead_letter_bytes: PositiveInt = Field(
        256 << 20, description="bound of the folder of messages that cannot be read or stored; the oldest go first"
    )


class HttpSettings(Part):
    """The port that speaks ClickHouse's HTTP interface."""

    listen: str = Field("127.0.0.1:8123", description="HOST:PORT; a busy port: the next free one")
    admin_token: SecretStr = Field(
        SecretStr(""), description="password of the user admin; empty: one is made, in {data}/state/admin.token"
    )
    hidden_tables: tuple[str, ...] = Field(
        ("subscriber_name",),
        description="tables a reader may not read, nor views over them: subscriber_1d and flows, too, say",
    )
    max_rows: PositiveInt = Field(1_000_000, description="rows one answer to a reader may have")
    max_seconds: PositiveInt = Field(60, description="time one query of a reader may take")
    max_memory_bytes: PositiveInt = Field(2 << 30, description="memory one query of a reader may use")
    threads: PositiveInt = Field(4, description="queries run at once; more wait")

"""TLS and logins, against a broker that demands them."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sinks import RAW_STREAM, BusUnavailable
from tests.broker import Broker, NoBroker
from tests.broker.buses import QUICK, bus_of, partitions_of, prefix, read
from tests.broker.fixtures import collect

# The client leaves sockets to the collector of garbage when a connection is refused or cut off.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <:ResourceWarning")

_PLAIN = 'org.apache.kafka.common.security.plain.PlainLoginModule required user_flow="secret";'
_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"


def certificates(folder: Path) -> None:
    """An authority, a broker's certificate in the form Java reads, a client's in PEM, and a stranger's authority."""

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True, timeout=30)

    elliptic = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for name in ("ca", "stranger"):
        openssl("req", "-x509", *elliptic, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-days", "2",
                "-subj", f"/CN={name}")  # fmt: skip
    for name in ("broker", "client"):
        openssl("req", *elliptic, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        (folder / "san").write_text("subjectAltName=IP:127.0.0.1")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                "-out", f"{name}.pem", "-days", "2", "-extfile", "san")  # fmt: skip
    key, certificate = (folder / "broker.key").read_text(), (folder / "broker.pem").read_text()
    (folder / "keystore.pem").write_text(key + certificate)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make certificates with")
    folder = tmp_path_factory.mktemp("secured")
    certificates(folder)
    properties = {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(folder / "keystore.pem"),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(folder / "ca.pem"),
        "listener.name.mutual.ssl.client.auth": "required",
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
    }
    for listener in ("login", "both"):
        properties[f"listener.name.{listener}.plain.sasl.jaas.config"] = _PLAIN
        for size in (256, 512):
            properties[f"listener.name.{listener}.scram-sha-{size}.sasl.jaas.config"] = _SCRAM
    listeners = {"TLS": "SSL", "MUTUAL": "SSL", "LOGIN": "SASL_PLAINTEXT", "BOTH": "SASL_SSL"}
    try:
        broker = Broker(folder / "broker", properties, listeners)
    except NoBroker as missing:
        pytest.skip(str(missing))
    for size in (256, 512):
        broker.add_scram.append(f"SCRAM-SHA-{size}=[name=flow,password=secret]")
    try:
        yield broker.start()
    finally:
        collect()
        broker.kill()


def settings(broker: Broker, listener: str, **more: Any) -> dict[str, Any]:
    folder = broker.folder.parent
    trust = {"tls": True, "ca_file": str(folder / "ca.pem")} if listener in ("TLS", "MUTUAL", "BOTH") else {}
    if listener == "MUTUAL":
        trust |= {"cert_file": str(folder / "client.pem"), "key_file": str(folder / "client.key")}
    return {"url": f"kafka://127.0.0.1:{broker.ports[listener]}", **trust, **more}


@pytest.mark.parametrize(
    ("listener", "sasl"),
    [("TLS", ""), ("MUTUAL", ""), ("LOGIN", "PLAIN"), ("LOGIN", "SCRAM-SHA-256"), ("BOTH", "SCRAM-SHA-512")],
)
def test_messages_pass_every_door(secured: Broker, listener: str, sasl: str) -> None:
    login = {"sasl": sasl, "user": "flow", "password": "secret"} if sasl else {}
    bus = bus_of(secured, prefix(), **settings(secured, listener, **login))
    with contextlib.closing(bus.producer(RAW_STREAM)) as producer:
        producer.publish(0, {"through": listener}, bytes(100_000))
        assert producer.last(0) == {"through": listener}
    with contextlib.closing(bus.consumer(RAW_STREAM, f"{listener}{sasl}")) as consumer:
        for partition in partitions_of(consumer):
            consumer.seek(partition, 0)
        assert [message.headers for message in read(consumer, 1)] == [{"through": listener}]
        consumer.commit(0, 1, "done")


@pytest.mark.parametrize(
    ("listener", "wrong"),
    [
        ("LOGIN", {"sasl": "PLAIN", "user": "flow", "password": "guess"}),
        ("LOGIN", {"sasl": "SCRAM-SHA-512", "user": "nobody", "password": "secret"}),
        ("TLS", {"ca_file": "stranger.pem"}),
        ("MUTUAL", {"cert_file": "", "key_file": ""}),
        ("LOGIN", {}),
    ],
)
def test_the_wrong_key_is_told_and_never_printed(secured: Broker, listener: str, wrong: dict[str, Any]) -> None:
    if "ca_file" in wrong:
        wrong = {"ca_file": str(secured.folder.parent / wrong["ca_file"])}
    limits = replace(QUICK, answer_seconds=1.5)
    with pytest.raises(BusUnavailable) as refused:
        bus_of(secured, prefix(), limits=limits, **{**settings(secured, listener), **wrong})
    assert "guess" not in str(refused.value)

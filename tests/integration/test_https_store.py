"""The https store against the HTTP port behind TLS of an authority that only a file names."""

import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from pydantic import SecretStr

from sinks import StoreUnavailable
from sinks.clickhouse import ClickHouseStore
from sinks.embedded import EmbeddedStore
from sinks.http_port import HttpPort
from sinks.settings import HttpSettings

TOKEN = "s3cret"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make certificates with")
    folder = tmp_path_factory.mktemp("certificates")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
         "key.pem", "-out", "ca.pem", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext",
         "subjectAltName=IP:127.0.0.1"],
        cwd=folder, check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    return folder


@pytest.fixture
def url(empty_store: EmbeddedStore, certificates: Path) -> Iterator[str]:
    """The port behind a relay that speaks TLS, as a proxy in front of a server does."""
    port = HttpPort(empty_store, HttpSettings(listen="127.0.0.1:0", admin_token=SecretStr(TOKEN)), lambda: {"ok": True})
    behind = port.start()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "ca.pem", certificates / "key.pem")
    listening = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def relay(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)

    def serve(plain: socket.socket) -> None:
        with (
            contextlib.suppress(OSError),
            context.wrap_socket(plain, server_side=True) as outer,
            socket.create_connection(behind) as inner,
        ):
            back = threading.Thread(target=relay, args=(inner, outer))
            back.start()
            relay(outer, inner)
            back.join()

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                plain, _ = listening.accept()
                threads.append(threading.Thread(target=serve, args=(plain,)))
                threads[-1].start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    yield f"https://127.0.0.1:{listening.getsockname()[1]}"
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    accepting.join(10)
    port.close()
    for thread in threads:
        thread.join(10)


def test_an_authority_of_our_own_is_named_by_a_file(url: str, empty_store: EmbeddedStore, certificates: Path) -> None:
    connect = partial(ClickHouseStore, url, user="admin", password=TOKEN, database=empty_store.database)
    store = connect(ca_file=str(certificates / "ca.pem"))
    assert store.query("SELECT 1 AS x").to_pylist() == [{"x": 1}]
    store.close()
    stranger = connect()
    with pytest.raises(StoreUnavailable, match=r"(?i)certificate"):
        stranger.query("SELECT 1 AS x")
    stranger.close()

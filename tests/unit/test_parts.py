"""What the settings' URLs mean, and who a data directory is."""

from pathlib import Path

import pytest

from flowtide.parts import (
    admin_token_file,
    compression,
    is_embedded,
    is_kafka,
    member,
    open_outbox,
    open_store,
    with_admin_token,
)
from flowtide.settings import Settings, SettingsError
from sinks.settings import BusSettings, StoreSettings


def test_the_bus_decides_the_compression_and_where_a_collector_writes(tmp_path: Path) -> None:
    spool = Settings(data=tmp_path)
    kafka = Settings(data=tmp_path, bus=BusSettings(url="kafka://h:9092"))
    assert (is_kafka(spool), is_kafka(kafka)) == (False, True)
    assert (compression(spool), compression(kafka)) == ("auto", "zstd")
    assert compression(Settings(bus=BusSettings(url="kafka://h:9092", compression="none"))) == "none"
    assert open_outbox(spool).folder == tmp_path / "bus"
    assert open_outbox(kafka).folder == tmp_path / "outbox"


@pytest.mark.parametrize("url", ["nats://h:1", "chdb:x", ""])
def test_another_bus_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="kafka://HOST:PORT"):
        is_kafka(Settings(bus=BusSettings(url=url)))


@pytest.mark.parametrize("url", ["postgres://h:5432", "spool:x", "http:/"])
def test_another_store_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match=r"http\(s\)://HOST:PORT"):
        is_embedded(Settings(store=StoreSettings(url=url)))


def test_a_password_in_the_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(SettingsError, match=r"store\.password") as refused:
        open_store(Settings(store=StoreSettings(url="http://admin:hunter2@h:1")))
    assert "hunter2" not in str(refused.value)


def test_a_data_directory_is_one_member_for_life(tmp_path: Path) -> None:
    first, other = Settings(data=tmp_path / "a"), Settings(data=tmp_path / "b")
    assert member(first) == member(first) != member(other)


def test_a_token_is_made_once_and_nobody_else_reads_it(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    made = with_admin_token(settings).http.admin_token.get_secret_value()
    assert with_admin_token(settings).http.admin_token.get_secret_value() == made
    assert len(made) >= 32
    assert admin_token_file(settings).stat().st_mode & 0o777 == 0o600

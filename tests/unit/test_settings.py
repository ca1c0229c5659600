from pathlib import Path

import pytest

from flowtide.check import describe
from flowtide.settings import Settings, SettingsError, known_keys, load, reveal


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FLOWTIDE_SHARED", "FLOWTIDE_NO_SKIP", "FLOWTIDE_CONFIG"):
        monkeypatch.delenv(name, raising=False)


def toml(folder: Path, text: str) -> Path:
    path = folder / "flowtide.toml"
    path.write_text(text)
    return path


def test_the_environment_wins_over_the_file_and_the_file_over_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = toml(tmp_path, 'timezone = "Asia/Tokyo"\n[bus]\npartitions = 5\n[collector.decoder]\nrows = 99\n')
    monkeypatch.setenv("FLOWTIDE_BUS__PARTITIONS", "7")
    monkeypatch.setenv("FLOWTIDE_COLLECTOR__RECEIVER__LISTEN", '["127.0.0.1:9995"]')
    settings = load(path)
    assert settings.timezone == "Asia/Tokyo"
    assert settings.bus.partitions == 7
    assert settings.collector.decoder.rows == 99
    assert settings.collector.receiver.listen == ("127.0.0.1:9995",)
    assert settings.bus.compression == "auto"


def test_every_key_can_be_set_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "collector.decoder.times.max_age_seconds" in known_keys()
    monkeypatch.setenv("FLOWTIDE_COLLECTOR__DECODER__TIMES__MAX_AGE_SECONDS", "5")
    monkeypatch.setenv("FLOWTIDE_COLLECTOR__DECODER__SAMPLING__DEFAULT", '{"192.0.2.0/24": 1000}')
    settings = load()
    assert settings.collector.decoder.times.max_age_seconds == 5
    assert settings.collector.decoder.sampling.default == {"192.0.2.0/24": 1000}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[bus]\npartition = 2\n", r"bus\.partition: unknown key; did you mean bus\.partitions\?"),
        ("[collector.receiver]\nlisten = 5\n", r"collector\.receiver\.listen"),
        ('timezone = "Mars"\n', "not an IANA time zone"),
        ("[bus\n", "not TOML"),
        ('[enricher]\nlocal_prefixes = ["10.0.0.0/33"]\n', r"enricher\.local_prefixes"),
    ],
)
def test_wrong_settings_are_refused_by_name(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        load(toml(tmp_path, text))


TOPIC = '[enricher]\nsources = [{kind = "kafka", path = "isp.leases"}]\n'
KAFKA = '[bus]\nurl = "kafka://h:9092"\n'
LISTEN = '[enricher.radius]\nlisten = "127.0.0.1:1813"\npublish = "isp.leases"\n'


def test_leases_of_topics_need_a_bus_of_kafka(tmp_path: Path) -> None:
    assert load(toml(tmp_path, KAFKA + TOPIC)).enricher.topics == ("isp.leases",)
    assert load(toml(tmp_path, KAFKA + TOPIC + LISTEN)).enricher.topics == ("isp.leases",)  # once
    assert load(toml(tmp_path, KAFKA + TOPIC)).enricher.sources[0].label == "kafka-isp.leases"
    for text in (TOPIC, LISTEN):
        with pytest.raises(SettingsError, match=r"topic isp\.leases need a bus of Kafka.*set bus\.url"):
            load(toml(tmp_path, text))
    with pytest.raises(SettingsError, match="nothing to publish without"):
        load(toml(tmp_path, KAFKA + LISTEN.replace("127.0.0.1:1813", "")))
    for path in ("isp/leases", "*", "x" * 250):
        with pytest.raises(SettingsError, match="no name of a topic"):
            load(toml(tmp_path, KAFKA + TOPIC.replace("isp.leases", path)))
    for key, wrong in (("publish", "a topic"), ("publish_name", "my name")):
        with pytest.raises(SettingsError, match=key):
            load(toml(tmp_path, f'{KAFKA}[enricher.radius]\n{key} = "{wrong}"\n'))


def test_an_unknown_name_in_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWTIDE_HTTP__LISTENS", "x")
    with pytest.raises(SettingsError, match="did you mean FLOWTIDE_HTTP__LISTEN"):
        load()


def test_a_missing_file_is_refused() -> None:
    with pytest.raises(SettingsError, match="no such file"):
        load(Path("nowhere.toml"))


def test_secrets_are_never_printed_and_reach_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWTIDE_HTTP__ADMIN_TOKEN", "s3cret-token")
    settings = load()
    assert "s3cret-token" not in describe(settings) + repr(settings) + settings.model_dump_json()
    assert Settings.model_validate_json(reveal(settings)).http.admin_token.get_secret_value() == "s3cret-token"


def test_what_check_prints_sets_the_same(tmp_path: Path) -> None:
    path = toml(tmp_path, '[collector.decoder.sampling.override]\n"192.0.2.0/24" = 10\n[store]\nraw_days = 3\n')
    settings = load(path)
    text = describe(settings)
    assert "raw_days = 3" in text and "[default]" in text
    assert load(toml(tmp_path, text)) == settings

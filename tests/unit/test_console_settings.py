"""Settings of the console and the text of passwords."""

import hashlib
from base64 import b64encode
from pathlib import Path

import pytest
from pydantic import ValidationError

from dashboards.console.passwords import PasswordError, hash_password, parse
from dashboards.settings import ConsoleSettings, is_loopback
from flowtide.check import describe
from flowtide.settings import Settings, SettingsError, load, reveal
from sinks.listening import host_and_port


def by_hand(password: str, n: int = 1024, r: int = 8, p: int = 1, salt: bytes = b"sixteen bytes...") -> str:
    """The text as its description says, by the standard library."""
    digest = hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, dklen=32)
    return f"scrypt${n}${r}${p}${b64encode(salt).decode()}${b64encode(digest).decode()}"


def test_a_hash_is_read_as_described() -> None:
    known = parse(by_hand("pässword"))
    assert known.matches("pässword")
    assert not known.matches("password")
    assert not known.matches("")


def test_a_made_hash_is_salted_and_read_back() -> None:
    first, second = hash_password("one"), hash_password("one")
    assert first != second
    assert "one" not in first
    assert parse(first).matches("one") and not parse(first).matches("two")
    n, r = (int(part) for part in first.split("$")[1:3])
    assert 128 * n * r >= 16 << 20  # a guess costs at least 16 MB


@pytest.mark.parametrize(
    "text",
    [
        "", "secret", "scrypt$1024$8$1$c2l4dGVlbg==", "bcrypt" + by_hand("x")[6:], by_hand("x") + "$more",
        by_hand("x").replace("$1024$", "$1000$"), by_hand("x").replace("$1024$", "$-1024$"),
        by_hand("x").replace("$1024$", "$1$"), by_hand("x").replace("$8$", "$0$"), by_hand("x")[:-1] + "!",
        by_hand("x", salt=b"short"),
    ],
)  # fmt: skip
def test_what_is_no_hash_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(PasswordError, match="flowtide console --hash") as refused:
        parse(text)
    assert not text or text not in str(refused.value)


def test_a_hash_that_would_take_the_machine_is_refused() -> None:
    with pytest.raises(PasswordError, match="more than 256 MB"):
        parse(by_hand("x").replace("$1024$8$", f"${2**20}$8$"))


@pytest.mark.parametrize("listen", ["0.0.0.0:8080", "192.0.2.1:80", "[::]:8080", "noc.example:8080"])
def test_a_port_open_to_others_wants_to_know_who_they_are(listen: str) -> None:
    with pytest.raises(ValidationError, match=r"console\.users .* or console\.proxy_header"):
        ConsoleSettings(listen=listen)
    assert ConsoleSettings(listen=listen, users={"ann": by_hand("x")}).listen == listen
    assert ConsoleSettings(listen=listen, proxy_header="X-Forwarded-User").listen == listen


@pytest.mark.parametrize("listen", ["127.0.0.1:8080", "[::1]:8080", "localhost:0", "127.8.9.1:1", ""])
def test_a_port_of_this_machine_asks_nobody(listen: str) -> None:
    assert ConsoleSettings(listen=listen).users == {}


def test_the_default_is_this_machine() -> None:
    host, port = host_and_port(ConsoleSettings().listen)
    assert is_loopback(host) and port == 8080


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("listen", "8080"), ("listen", "127.0.0.1"), ("listen", "127.0.0.1:http"), ("listen", "::1:8080"),
        ("listen", "127.0.0.1:65536"), ("listen", ":8080"), ("users", {"": "x"}), ("users", {"ann": "secret"}),
        ("trusted_proxies", ["10.0.0.0/33"]), ("trusted_proxies", ["proxy"]), ("store_url", "chdb:x"),
        ("proxy_header", "X Forwarded: User"), ("max_rows", 0), ("cache_seconds", -1), ("nothing", 1),
        ("store_user", ""), ("store_user", "admin"),
    ],
)  # fmt: skip
def test_wrong_settings_are_refused(key: str, value: object) -> None:
    with pytest.raises(ValidationError):
        ConsoleSettings(**{key: value})


def test_a_user_with_a_colon_could_never_log_in() -> None:
    with pytest.raises(ValidationError, match="no colon"):
        ConsoleSettings(users={"a:b": by_hand("x")})


def test_the_file_and_the_environment_set_it_and_say_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FLOWTIDE_SHARED", "FLOWTIDE_NO_SKIP", "FLOWTIDE_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "flowtide.toml"
    path.write_text(f'[console]\nlisten = "0.0.0.0:80"\n[console.users]\nann = "{by_hand("x")}"\n')
    monkeypatch.setenv("FLOWTIDE_CONSOLE__CACHE_SECONDS", "2")
    chosen = load(path).console
    assert list(chosen.users) == ["ann"] and chosen.cache_seconds == 2
    path.write_text('[console]\nlisten = "0.0.0.0:80"\n')
    with pytest.raises(SettingsError, match=r"console: .*set console\.users"):
        load(path)


def test_hashes_and_passwords_are_never_printed_and_reach_a_child() -> None:
    text = by_hand("x")
    settings = Settings(console=ConsoleSettings(users={"ann": text}, store_password="st0re"))
    for shown in (describe(settings), repr(settings), settings.model_dump_json()):
        assert text not in shown and "st0re" not in shown
        assert "ann" in shown
    child = Settings.model_validate_json(reveal(settings)).console
    assert child.users["ann"].get_secret_value() == text
    assert child.store_password.get_secret_value() == "st0re"

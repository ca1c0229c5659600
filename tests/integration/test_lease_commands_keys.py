"""``flowtide leases rekey`` and ``erase`` as a user types them: killed at any step, refused while anything runs."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from enricher.snapshots import restore, save
from enricher.sources.tables import parse_leases
from flowtide.erasing import without
from sinks.ownership import Ownership
from tests.integration.test_lease_commands import KEY, LEASES, VOLUMES, Site
from tests.rekey_rows import id_of, id_of_unknown

DAY = "2026-09-21"
USERS = [("fixed", "s1", "pppoe"), ("fixed", "s2", "pppoe"), ("mobile", "0901", "mobile")]
UNKNOWN = ("fixed", "s1", "ipoe")  # of the accounting file; no lease says so
# Runs the command, and kills itself at a step or after some seconds.
CHILD = """
import os, signal, sys, threading
from pathlib import Path
from flowtide import rekey_command
from flowtide.settings import load
config, new_key, step, seconds = sys.argv[1:]
left = int(step)
def die(): os.kill(os.getpid(), signal.SIGKILL)
def tell(what):
    global left
    left -= 1
    if left == 0:
        die()
    if what == "decided" and float(seconds):
        threading.Timer(float(seconds), die).start()
rekey_command._tell = tell
rekey_command.rekey(load(Path(config)), Path(new_key), yes=True)
"""


def new_key(site: Site, key: bytes, name: str = "new.key") -> str:
    path = site.folder / name
    path.write_bytes(key)
    path.chmod(0o600)
    return str(path)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """With rows of three subscribers, and the key in its file."""
    site = Site(tmp_path)
    site.config.write_text(site.config.read_text().replace(f'key = "{KEY}"\n', ""))
    key_file(site).parent.mkdir(parents=True)
    key_file(site).write_bytes(KEY.encode())
    key_file(site).chmod(0o600)
    site.run("migrate")
    site.run("accounting", "import", site.write("volumes.csv", VOLUMES), "--source", "gateway")
    site.run("leases", "seen", "--day", DAY, "--names")
    return site


def key_file(site: Site) -> Path:
    return site.folder / "data" / "state" / "subscriber.key"


def ids(site: Site) -> dict[str, set[int]]:
    sql = "SELECT 'seen' AS t, toString(sub_id) AS id FROM subscriber_seen_1d UNION ALL " \
          "SELECT concat('accounting ', toString(out_octets)), toString(sub_id) FROM accounting_1d"  # fmt: skip
    found: dict[str, set[int]] = {}
    for row in site.sql(sql):
        found.setdefault(str(row["t"]), set()).add(int(str(row["id"])))
    return found


def expected(key: bytes, unknown: int) -> dict[str, set[int]]:
    return {"seen": {id_of(key, *user) for user in USERS}, "accounting 200": {id_of(key, *USERS[2])},
            "accounting 60": {unknown}}  # fmt: skip


def test_killed_at_any_step_it_is_finished_by_the_same_command(site: Site) -> None:
    unknown = id_of(KEY.encode(), *UNKNOWN)
    assert ids(site) == expected(KEY.encode(), unknown)
    # Between two tables, and in the middle of a step; every step has its turn in test_rekey.
    points = [(11, 0.0), (99, random.uniform(0.0, 0.05))]
    for number, (step, seconds) in enumerate(points):
        key = f"key {number} of the tests, 32 bytes long".encode()
        words = [str(site.config), new_key(site, key), str(step), str(seconds)]
        done = subprocess.run(
            [sys.executable, "-c", CHILD, *words], cwd=site.folder, capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip
        assert done.returncode in ((-9,) if step < 99 else (-9, 0)), done.stderr
        unknown = id_of_unknown(key, unknown)
        if step == 11:
            other = new_key(site, b"yet another key of the tests", "other.key")
            assert "run it again with that key" in site.run("leases", "rekey", "--new-key", other, "--yes", good=False)
            assert "not finished: run flowtide leases rekey" in site.run("leases", "seen", "--day", DAY, good=False)
        said = site.run("leases", "rekey", "--new-key", words[1], "--yes")
        assert "the key is changed" in said or "of this key already" in said
        assert ids(site) == expected(key, unknown)
        assert key_file(site).read_bytes() == key and key_file(site).stat().st_mode & 0o777 == 0o600
    assert "of this key already" in site.run("leases", "rekey", "--new-key", words[1], "--yes")


def test_it_says_what_it_would_do_and_refuses_what_is_not_safe(site: Site) -> None:
    key = b"the new key of the tests, 32 long"
    path, before = new_key(site, key), ids(site)

    def refused(*words: str) -> str:
        said = site.run("leases", "rekey", "--new-key", *words, good=False)
        assert key_file(site).read_bytes() == KEY.encode() and key.decode() not in said
        return said

    said = refused(path)
    assert "4 ids in the store, of 3 it is known whose" in said and "1 ids are of nobody known" in said
    assert "nothing was changed: --yes changes the key" in said
    assert "make a key with" in refused(str(site.folder / "none"), "--yes")
    assert "write the new key to another one" in refused(str(key_file(site)), "--yes")
    assert "5 bytes are no key" in refused(new_key(site, b"short", "short"), "--yes")
    Path(path).chmod(0o644)
    assert "others can read it; run chmod 600" in refused(path, "--yes")
    Path(path).chmod(0o600)
    for role in ("flowtide", "serve"):
        owner = Ownership(site.folder / "data", role)
        assert "only while nothing enriches, stores or serves" in refused(path, "--yes")
        owner.close()
    site.leases.write_text("no leases\n")
    assert "its subscribers would be taken for unknown" in refused(path, "--yes")
    site.leases.write_text(LEASES)
    # Another key in the file than the store's, and a start with it.
    key_file(site).write_bytes(key)
    assert "are of another key" in site.run("leases", "seen", "--day", DAY, good=False)
    assert "are of another key" in site.run("leases", "erase", "s1", "--yes", good=False)
    assert "are of another key" in site.run("leases", "show", "s1")
    volumes = site.write("other.csv", VOLUMES.replace(",200", ",201"))
    assert "are of another key" in site.run("accounting", "import", volumes, "--source", "gateway", good=False)
    # An enricher with the store at hand does not start with it, nor makes a new one where it is gone.
    for said in ("are of another key", "that is not here"):
        assert said in site.run("run", good=False)
        key_file(site).unlink(missing_ok=True)
    assert not key_file(site).exists()
    key_file(site).write_bytes(KEY.encode())
    key_file(site).chmod(0o600)
    assert ids(site) == before


def test_a_key_of_the_settings_is_not_written_to_a_file(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.run("migrate")
    site.run("leases", "seen", "--day", DAY, "--names")
    assert "must be a line of text" in site.run(
        "leases", "rekey", "--new-key", new_key(site, bytes(range(32)), "b"), "--yes", good=False
    )
    said = site.run("leases", "rekey", "--new-key", new_key(site, b"a new key of the settings\n"), "--yes")
    assert "Now set enricher.key" in said and not key_file(site).exists()
    assert ids(site)["seen"] == {id_of(b"a new key of the settings", *user) for user in USERS}
    assert "are of another key" in site.run("leases", "seen", "--day", DAY, good=False)
    site.config.write_text(site.config.read_text().replace(KEY, "a new key of the settings"))
    assert "3 users" in site.run("leases", "seen", "--day", DAY)


def test_erase_reaches_what_the_enricher_remembers(site: Site) -> None:
    folder = site.folder / "data" / "state" / "leases"
    rows = parse_leases(LEASES.encode(), Path("x"))
    save(folder / "leases.parquet", rows)
    save(folder / "radius.parquet", rows)
    said = site.run("leases", "erase", "s1", good=False)
    assert "saved leases: 2 rows" in said and "RADIUS journal: 0 sessions" in said
    assert restore(folder / "radius.parquet").subscribers == ["s1", "s2", "0901"]  # type: ignore[union-attr]
    said = site.run("leases", "erase", "s1", "--yes")
    assert "subscriber_name: 1 rows" in said and "saved leases: 2 rows" in said
    assert f"- leases: 1 leases in {site.leases}: take them out there" in said
    for name in ("leases", "radius"):
        assert restore(folder / f"{name}.parquet").subscribers == ["s2", "0901"]  # type: ignore[union-attr]
        assert b"s1" not in (folder / f"{name}.parquet").read_bytes()
    owner = Ownership(site.folder / "data", "enricher")
    said = site.run("leases", "erase", "s2", "--yes")
    assert "- what the enricher remembers, process" in said and "stop it and erase again" in said
    assert restore(folder / "radius.parquet").subscribers == ["s2", "0901"]  # type: ignore[union-attr]
    owner.close()


def test_nothing_of_a_subscriber_is_left_in_leases() -> None:
    rows = parse_leases((LEASES + "10.0.0.9/32,2026-09-21T00:00:00Z,,s1,g,fixed,personal,ipoe\n").encode(), Path("x"))
    left = without(rows, "s1")
    assert list(left.subscribers) == ["s2", "0901"] and len(left) == 2
    assert [left.subscribers[at] for at in left.subscriber] == ["s2", "0901"]
    assert left.low.tolist() == [rows.low[1], rows.low[2]]
    nobody = without(without(left, "s2"), "0901")
    assert len(nobody) == 0 and list(nobody.subscribers) == []

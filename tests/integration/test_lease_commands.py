"""``flowtide leases`` and ``flowtide accounting`` as a user types them, on a data directory of their own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from enricher.subscribers import sub_id

KEY = "a key of the tests, 32 bytes long"
HEAD = "prefix,from,to,subscriber,group,service,segment,access\n"
LEASES = HEAD + (
    "10.0.0.1/32,2026-09-20T00:00:00Z,,s1,,fixed,personal,pppoe\n"
    "10.0.0.2/32,2026-09-20T00:00:00Z,,s2,,fixed,personal,pppoe\n"
    "2001:db8::/56,2026-09-20T00:00:00Z,,0901,,mobile,personal,mobile\n"
)
VOLUMES = (
    "day,user,subscription,service,segment,access,volume_source,in_octets,out_octets\n"
    "2026-09-21,0901,m1,mobile,personal,mobile,accounting,10,200\n"
    "2026-09-21,s1-ipoe,s1,fixed,personal,ipoe,accounting,5,60\n"
)


class Site:
    """A data directory, its settings, and commands on them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.leases = folder, folder / "leases.csv"
        self.leases.write_text(LEASES)
        self.config = folder / "flowtide.toml"
        self.config.write_text(
            f'data = "{folder / "data"}"\ntimezone = "Asia/Tokyo"\n'
            f'[enricher]\nkey = "{KEY}"\nleases = "{self.leases}"\ntelemetry = "127.0.0.1:9"\n'
        )

    def run(self, *words: str, good: bool = True) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "flowtide", *words, "--config", str(self.config)], cwd=self.folder,
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert (done.returncode == 0) == good, done.stdout + done.stderr
        assert "Traceback" not in done.stderr and KEY not in done.stdout + done.stderr
        return done.stdout if good else done.stdout + done.stderr

    def sql(self, query: str) -> list[dict[str, object]]:
        lines = self.run("sql", query, "-f", "JSONEachRow").splitlines()
        return [json.loads(line) for line in lines]

    def write(self, name: str, text: str) -> str:
        (self.folder / name).write_text(text)
        return str(self.folder / name)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_from_volumes_to_a_report_and_out_again(site: Site) -> None:
    site.run("migrate")
    volumes = site.write("volumes.csv", VOLUMES)
    said = site.run("accounting", "import", volumes, "--source", "gateway", "--day", "2026-09-21")
    assert said == ("2026-09-21: 2 users, 15 octets in, 260 out\n2 rows of 1 days from gateway\n")
    assert "in force already" in site.run("accounting", "import", volumes, "--source", "gateway")
    bad = site.write("bad.csv", VOLUMES.replace(",200", ",-200"))
    assert f"{bad}:2: out_octets '-200' is negative" in site.run(
        "accounting", "import", bad, "--source", "gateway", good=False
    )
    line = sub_id(KEY.encode(), "mobile", "0901", "mobile")
    assert "3 users held a lease on 2026-09-21\n3 names" in site.run("leases", "seen", "--day", "2026-09-21", "--names")
    asked = "SELECT toString(sub_id) AS id, out_octets AS o FROM v_user_day WHERE service = 'mobile'"
    # Strings of JSON: whole numbers of 64 bits.
    assert [(row["id"], int(str(row["o"]))) for row in site.sql(asked)] == [(str(line), 200)]
    assert "not for readers" in site.run("sql", "SELECT * FROM subscriber_name", good=False)

    said = site.run("leases", "show", "0901")
    assert f"sub_id {line}  mobile mobile" in said
    assert "2001:db8::/56  2026-09-20T00:00:00Z to now  0901 mobile personal mobile  (leases)" in said
    assert "2026-09-21  mobile personal mobile: 10 octets in, 200 out, by accounting" in said
    assert "no source has a lease of it" in site.run("leases", "show", "nobody")

    kept = site.run("leases", "erase", "0901", good=False)
    assert "accounting_1d: 1 rows" in kept and "nothing was erased: --yes" in kept
    assert "accounting_1d: 1 rows" in site.run("leases", "erase", "0901", "--yes")
    assert site.sql(asked) == []
    assert site.sql("SELECT toUInt32(count()) AS n FROM v_subscribers_seen") == [{"n": 2}]
    assert "accounting_1d: 0 rows" in site.run("leases", "erase", "0901", "--yes")


def test_a_new_file_is_looked_at_then_put_in_place(site: Site) -> None:
    said = site.run("leases", "status")
    assert "ok    leases (csv, priority 0): 3 leases, newest begins 2026-09-20T00:00:00Z" in said
    assert "enricher: none answers at http://127.0.0.1:9" in said
    new = site.write(
        "new.csv", LEASES.replace("s2", "s3") + "10.0.0.9/32,2026-09-21T00:00:00Z,,s9,,fixed,personal,ipoe"
    )
    said = site.run("leases", "diff", new)
    assert f"3 leases in force, 4 in {new}: 1 added, 0 ended, 1 changed, 0 gone" in said
    assert "+ 10.0.0.9/32  2026-09-21T00:00:00Z to now  s9 fixed personal ipoe" in said and "~ 10.0.0.2/32" in said
    assert site.leases.read_text() == LEASES
    site.leases.chmod(0o640)
    assert f"4 leases in {site.leases}" in site.run("leases", "load", new)
    assert site.leases.read_text() == Path(new).read_text() and site.leases.stat().st_mode & 0o777 == 0o640
    assert "0 added, 0 ended, 0 changed, 0 gone" in site.run("leases", "diff", new)

    bad = site.write("bad.csv", LEASES.replace("10.0.0.2/32", "10.0.0.2/31x"))
    for command in ("diff", "load"):
        assert f"refused: {bad}:3: " in site.run("leases", command, bad, good=False)
    assert site.leases.read_text() == Path(new).read_text()
    assert [path.name for path in site.folder.glob(".*.new")] == []
    assert "no source of files is called 'dhcp': there are leases" in site.run(
        "leases", "load", new, "--source", "dhcp", good=False
    )


def test_the_limits_of_a_source_hold_here_too(site: Site) -> None:
    site.config.write_text(site.config.read_text() + f'[[enricher.sources]]\nname = "bng"\npath = "{site.leases}"\n')
    less = site.write("less.csv", "".join(LEASES.splitlines(keepends=True)[:2]))
    said = site.run("leases", "load", less, "--source", "bng", good=False)
    assert "1 leases are no more than 60% of the 3 in force" in said
    assert site.leases.read_text() == LEASES


def test_a_refused_file_is_said(site: Site) -> None:
    site.leases.write_text(LEASES.replace("personal", "home"))
    said = site.run("leases", "status")
    assert "LOOK  leases (csv, priority 0): 0 leases" in said and f"refused: {site.leases}:2: " in said


def test_without_a_key_nobody_makes_one(site: Site) -> None:
    site.config.write_text(site.config.read_text().replace(f'key = "{KEY}"\n', ""))
    said = site.run("leases", "show", "s1", good=False)
    assert "no key of the subscriber ids" in said
    assert not list(site.folder.rglob("subscriber.key"))

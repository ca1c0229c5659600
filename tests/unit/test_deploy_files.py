"""What operators are given: everything that can be proved without a container engine, and without a network."""

import configparser
import hashlib
import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import threading
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer
import yaml

from collector.receiver import ReceiverSettings
from dashboards.library import DATA_SOURCE, dashboards
from flowtide.cli import app
from flowtide.settings import Settings, load
from flowtide.simulator.leases import LEASE_COLUMNS
from flowtide.single import ROLES, single_file
from flowtide.stack import Addresses, collect_file, runtime_file

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
SECRETS = ("CLICKHOUSE_FLOWTIDE_PASSWORD", "CLICKHOUSE_FLOWTIDE_SHA256", "CLICKHOUSE_GRAFANA_PASSWORD",
           "CLICKHOUSE_GRAFANA_SHA256", "GRAFANA_ADMIN_PASSWORD")  # fmt: skip


def interpolated(text: str, values: dict[str, str]) -> str:
    """The specification's ``${NAME:-default}`` and ``${NAME:?message}``; a KeyError has the message."""

    def value(found: re.Match[str]) -> str:
        name, kind, rest = found[1], found[2], found[3]
        if values.get(name):
            return values[name]
        if kind != ":-":
            raise KeyError(rest)
        return str(rest)

    return re.sub(r"\$\{(\w+)(:[-?])?([^}]*)\}", value, text)


def compose(**values: str) -> dict[str, Any]:
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    read: dict[str, Any] = yaml.safe_load(interpolated(text, dict.fromkeys(SECRETS, "5ecret") | values))
    return read


SERVICES: dict[str, dict[str, Any]] = compose()["services"]
OURS = {name: service for name, service in SERVICES.items() if str(service["image"]).startswith("flowtide:")}


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No setting of whoever runs the tests."""
    for name in [name for name in os.environ if name.startswith("FLOWTIDE_")]:
        monkeypatch.delenv(name)
    return monkeypatch


def program() -> Any:
    """The tree of commands; typer brings a click of its own, so there is no type to name."""
    return typer.main.get_command(app)


# docker-compose.yml


def test_the_compose_file_fits_the_specification() -> None:
    schema = json.loads((ROOT / "tests/deploy_schema/compose-spec.json").read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(compose())
    assert not validator.is_valid({"services": {"x": {"imagee": "y"}}})  # the schema refuses at all


@pytest.mark.parametrize("secret", SECRETS)
def test_without_a_secret_it_says_what_to_run(secret: str) -> None:
    with pytest.raises(KeyError, match="run deploy/make-secrets first"):
        compose(**{secret: ""})


def test_every_mounted_path_exists_and_every_volume_is_declared() -> None:
    declared = set(compose()["volumes"])
    used = set()
    for service in SERVICES.values():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            if source.startswith("."):
                assert (ROOT / source).exists(), source
                assert mount.endswith(":ro"), mount
            else:
                used.add(source)
    assert used == declared


def test_images_are_pinned() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    for name, service in SERVICES.items():
        assert re.fullmatch(r"[a-z/-]+:\d+(\.\d+){2,3}", service["image"]), f"{name}: {service['image']}"
    assert {service["image"] for service in OURS.values()} == {f"flowtide:{version}"}
    assert re.fullmatch(
        r"grafana-clickhouse-datasource@\d+\.\d+\.\d+", SERVICES["grafana"]["environment"]["GF_PLUGINS_PREINSTALL_SYNC"]
    )


def test_every_service_has_a_health_check_or_says_why_not() -> None:
    in_image = any(word == "HEALTHCHECK" for word, _ in instructions())
    for name, service in SERVICES.items():
        check = service.get("healthcheck", {})
        if check.get("disable"):
            assert service.get("x-no-health-check"), name
        else:
            assert check.get("test") or (name in OURS and in_image), name
        for other, how in service.get("depends_on", {}).items():
            assert not (how["condition"] == "service_healthy" and SERVICES[other].get("healthcheck", {}).get("disable"))
        assert service["restart"] == "unless-stopped"
        assert "mem_limit" in service


@pytest.mark.parametrize("name", OURS)
def test_every_environment_key_is_a_setting_and_parses(name: str, clean: pytest.MonkeyPatch) -> None:
    service = OURS[name]
    environment = {key: str(value) for key, value in service.get("environment", {}).items()}
    assert all(key.startswith("FLOWTIDE_") for key in environment)
    for key, value in environment.items():
        clean.setenv(key, value)
    chosen = load().model_dump(mode="json")  # an unknown key or a wrong value raises
    for key, value in environment.items():
        found: Any = chosen
        for part in key.removeprefix("FLOWTIDE_").lower().split("__"):
            found = found[part]
        assert found == (value if "PASSWORD" not in key else "**********")


@pytest.mark.parametrize("name", OURS)
def test_every_command_is_one_of_the_program_with_options_it_knows(name: str) -> None:
    word, *options = OURS[name]["command"]
    program().commands[word].make_context(word, list(options))


def test_ports_are_those_of_the_settings() -> None:
    listens = [listen.rsplit(":", 1)[1] for listen in ReceiverSettings().listen]
    assert SERVICES["collect"]["ports"] == [f"{port}:{port}/udp" for port in listens]
    settings = Settings()
    for name, key, default in (
        ("collect", "FLOWTIDE_COLLECTOR__TELEMETRY", settings.collector.telemetry),
        ("collect", "FLOWTIDE_BUS__TELEMETRY", settings.bus.telemetry),
        ("enrich", "FLOWTIDE_ENRICHER__TELEMETRY", settings.enricher.telemetry),
        ("sink", "FLOWTIDE_SINK__TELEMETRY", settings.sink.telemetry),
    ):
        assert OURS[name]["environment"][key] == "0.0.0.0:" + default.rsplit(":", 1)[1]
    for name in ("clickhouse", "grafana"):
        assert all(port.startswith("127.0.0.1:") for port in SERVICES[name]["ports"])
    to = next(word for word in OURS["simulate"]["command"] if word.startswith("--to=")).removeprefix("--to=")
    assert {target.split(":")[0] for target in to.split(",")} == {"collect"}
    assert {target.split(":")[1] for target in to.split(",")} < set(listens)


def test_the_simulator_writes_the_leases_that_the_enricher_reads() -> None:
    leases = OURS["enrich"]["environment"]["FLOWTIDE_ENRICHER__LEASES"]
    assert f"--leases={leases}" in OURS["simulate"]["command"]
    for name in ("enrich", "simulate"):
        assert f"leases:{Path(leases).parent}" in OURS[name]["volumes"]


# Users of ClickHouse


def test_users_have_no_plain_password_and_grafanas_may_only_read() -> None:
    users: dict[str, ET.Element] = {}
    mounted = [mount.split(":")[0] for mount in SERVICES["clickhouse"]["volumes"] if "users.d" in mount]
    for name in mounted:
        root = ET.parse(ROOT / name).getroot()
        users |= {user.tag: user for user in root.find("users") or []}
        profiles = root.find("profiles")
        if profiles is not None:
            profile = {one.tag: one for one in profiles}["flowtide_grafana"]
    assert set(users) == {"default", "flowtide", "grafana"}
    for name in ("flowtide", "grafana"):
        secret = users[name].find("password_sha256_hex")
        assert secret is not None and secret.get("from_env") in SERVICES["clickhouse"]["environment"]
        assert users[name].find("password") is None
    assert users["grafana"].findtext("profile") == profile.tag
    assert profile.findtext("readonly") == "1"
    assert profile.find("constraints/max_execution_time/changeable_in_readonly") is not None
    local = {ip.text for ip in users["default"].findall("networks/ip")}
    assert local == {"127.0.0.1", "::1", "0.0.0.0"}  # nobody else's address
    assert users["default"].find("networks[@replace]") is not None
    assert SERVICES["sink"]["environment"]["FLOWTIDE_STORE__USER"] in users


# Grafana's provisioning

SOURCE_KEYS = {"name", "uid", "type", "access", "isDefault", "editable", "jsonData", "secureJsonData"}
JSON_KEYS = {"host", "server", "port", "protocol", "secure", "username", "defaultDatabase"}
PROVIDER_KEYS = {"name", "orgId", "folder", "folderUid", "type", "disableDeletion", "allowUiUpdates",
                 "updateIntervalSeconds", "options"}  # fmt: skip


def provisioned(kind: str) -> dict[str, Any]:
    (path,) = (DEPLOY / "grafana" / "provisioning" / kind).iterdir()
    read: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert read["apiVersion"] == 1
    return read


def test_the_data_source_is_the_one_that_panels_ask_for() -> None:
    (source,) = provisioned("datasources")["datasources"]
    assert set(source) <= SOURCE_KEYS and set(source["jsonData"]) <= JSON_KEYS
    assert {"type": source["type"], "uid": source["uid"]} == DATA_SOURCE
    asked = [panel["datasource"] for one in dashboards().values() for panel in one["panels"] if "datasource" in panel]
    assert asked and all(one == DATA_SOURCE for one in asked)
    found = source["jsonData"]
    assert found["host"] == found["server"] == "clickhouse" and found["host"] in SERVICES
    assert f":{found['port']}:" in SERVICES["clickhouse"]["ports"][0]
    assert found["defaultDatabase"] == Settings().store.database
    assert found["username"] == "grafana"
    (variable,) = re.findall(r"^\$\{(\w+)\}$", source["secureJsonData"]["password"])
    assert variable in SERVICES["grafana"]["environment"]


def test_the_dashboards_are_read_from_where_they_are_mounted() -> None:
    (provider,) = provisioned("dashboards")["providers"]
    assert set(provider) <= PROVIDER_KEYS and set(provider["options"]) == {"path"}
    mounts = dict(mount.split(":")[1::-1] for mount in SERVICES["grafana"]["volumes"])
    for kind in ("datasources", "dashboards"):
        assert mounts[f"/etc/grafana/provisioning/{kind}"] == f"./deploy/grafana/provisioning/{kind}"
    assert sorted((ROOT / mounts[provider["options"]["path"]]).glob("*.json"))


ALERTING = "/etc/grafana/provisioning/alerting/"


def alerting() -> dict[str, dict[str, Any]]:
    """Files that the compose file's Grafana finds in its folder of alerting, by name."""
    mounts = dict(mount.split(":")[1::-1] for mount in SERVICES["grafana"]["volumes"])
    there = {target.removeprefix(ALERTING): source for target, source in mounts.items() if target.startswith(ALERTING)}
    return {name: yaml.safe_load((ROOT / source).read_text(encoding="utf-8")) for name, source in there.items()}


def test_grafana_gets_the_rules_that_are_evaluated_without_it_and_every_file_of_the_folder() -> None:
    files = alerting()
    own = {path.name for path in (DEPLOY / "grafana/provisioning/alerting").iterdir()}
    assert set(files) == own | {"flowtide.yaml"}
    # One other suffix, and Grafana ends at its start.
    assert all(name.endswith(".yaml") and found["apiVersion"] == 1 for name, found in files.items())
    assert files["flowtide.yaml"]["groups"] and "./dashboards/alerts/flowtide.yaml" in str(SERVICES["grafana"])


def test_file_provisioning_leaves_the_texts_of_rules_as_they_are() -> None:
    """Grafana puts the environment into titles, labels and, as ${NAME}, annotations; queries it leaves alone."""
    for group in alerting()["flowtide.yaml"]["groups"]:
        for rule in group["rules"]:
            assert "$" not in "".join([group["name"], group["folder"], rule["title"], *rule["labels"].values()])
            assert "${" not in "".join(rule["annotations"].values()), rule["uid"]


def test_no_judgement_wakes_nobody_and_everything_else_has_a_receiver() -> None:
    files = alerting()
    (point,) = files["contact-points.yaml"]["contactPoints"]
    (tree,) = files["policies.yaml"]["policies"]
    (variable,) = re.findall(r"^\$\{(\w+)\}$", point["receivers"][0]["settings"]["url"])
    assert SERVICES["grafana"]["environment"][variable].startswith("http")  # an empty one ends Grafana
    chosen = compose(**{variable: "https://hooks.example/x"})["services"]["grafana"]["environment"]
    assert chosen[variable] == "https://hooks.example/x"
    assert {tree["receiver"], *(route["receiver"] for route in tree["routes"])} == {point["name"]}
    timings = {one["name"]: one["time_intervals"] for one in files["policies.yaml"]["muteTimes"]}
    assert timings == {"flowtide-always": [{"times": [{"start_time": "00:00", "end_time": "24:00"}]}]}
    muted = [tuple(route["object_matchers"][0]) for route in tree["routes"] if "mute_time_intervals" in route]
    assert muted == [("alertname", "=", "DatasourceNoData"), ("severity", "=", "info")]
    severities = {rule["labels"]["severity"] for group in files["flowtide.yaml"]["groups"] for rule in group["rules"]}
    assert severities == {"page", "warn", "notice", "info"}


def test_the_runbook_has_a_section_for_every_rule_and_the_rules_lead_there() -> None:
    page = (ROOT / "dashboards/README.md").read_text(encoding="utf-8")
    for group in alerting()["flowtide.yaml"]["groups"]:
        for rule in group["rules"]:
            section = rule["labels"]["rule"]
            assert rule["annotations"]["runbook_url"].endswith(f"dashboards/README.md#{section.lower()}")
            assert page.count(f"\n### {section}\n") == 1
            assert f"**{rule['title']}** ({rule['labels']['severity']}, `{rule['uid']}`" in page


def test_prometheus_asks_services_at_their_ports() -> None:
    (job,) = yaml.safe_load((DEPLOY / "prometheus/flowtide.yml").read_text(encoding="utf-8"))["scrape_configs"]
    asked = {target for group in job["static_configs"] for target in group["targets"]}
    there = {
        f"{name}:{value.rsplit(':', 1)[1]}"
        for name, service in OURS.items()
        for key, value in service.get("environment", {}).items()
        if key.endswith("TELEMETRY")
    }
    assert asked == there


# The image


def instructions() -> list[tuple[str, str]]:
    """Instruction and its words; comments out, continued lines joined."""
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    pairs = [line.split(None, 1) for line in text.splitlines() if line.strip()]
    return [(pair[0], pair[1]) for pair in pairs]


def of(word: str) -> list[str]:
    return [rest for name, rest in instructions() if name == word]


def test_the_image_is_pinned_and_runs_as_nobody_special() -> None:
    known = {"FROM", "ARG", "ENV", "WORKDIR", "COPY", "RUN", "USER", "VOLUME", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT",
             "CMD"}  # fmt: skip
    assert {word for word, _ in instructions()} <= known
    assert all(re.match(r"python:3\.\d+\.\d+-slim-[a-z]+( AS \w+)?$", base) for base in of("FROM"))
    assert len({base.split()[0] for base in of("FROM")}) == 1  # wheels fit the interpreter that they were chosen for
    words = [word for word, _ in instructions()]
    assert of("USER") == ["flowtide"] and words.index("USER") < words.index("ENTRYPOINT")
    assert any("useradd" in run and " flowtide " in run for run in of("RUN"))
    assert of("ENTRYPOINT") == ['["flowtide"]']
    assert "--require-hashes" in of("RUN")[0]


def test_what_is_copied_exists_and_is_let_through() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    let = {line[1:] for line in ignored if line.startswith("!")}
    assert "*" in ignored and ".env" not in let
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]["targets"]
    copied = set()
    for words in (shlex.split(rest) for rest in of("COPY") if "--from" not in rest):
        for source in words[:-1]:
            assert (ROOT / source).exists(), source
            assert source in let, f"{source} is not let through by .dockerignore"
            copied.add(source)
    assert set(packages["wheel"]["packages"]) <= copied
    assert "deploy/healthcheck.py" in copied
    assert "/opt/flowtide/healthcheck.py" in of("HEALTHCHECK")[0]


def test_the_images_ports_and_lease_file_are_those_of_the_program() -> None:
    settings = Settings()
    wanted = {f"{listen.rsplit(':', 1)[1]}/udp" for listen in settings.collector.receiver.listen}
    telemetry = (settings.collector, settings.bus, settings.enricher, settings.sink)
    wanted |= {part.telemetry.rsplit(":", 1)[1] for part in telemetry}
    assert set(of("EXPOSE")[0].split()) == wanted
    assert any(f"echo {','.join(LEASE_COLUMNS)} > /leases/leases.csv" in run for run in of("RUN"))
    assert "FLOWTIDE_DATA=/var/lib/flowtide" in of("ENV")[-1]
    for service in OURS.values():
        if service["command"][0] != "simulate":
            assert any(mount.endswith(":/var/lib/flowtide") for mount in service["volumes"])


@pytest.mark.parametrize("engine", ["no", "yes"])
def test_the_lock_file_without_the_engine_is_whole(engine: str, tmp_path: Path) -> None:
    (command,) = re.findall(r"(awk .*? > image\.lock)", of("RUN")[0])
    shutil.copy(ROOT / "requirements.lock", tmp_path)
    subprocess.run(["sh", "-euc", command], cwd=tmp_path, env=os.environ | {"ENGINE": engine}, check=True, timeout=30)
    kept = (tmp_path / "image.lock").read_text(encoding="utf-8")
    before = set(re.findall(r"^([a-z][\w.-]*)==", (ROOT / "requirements.lock").read_text(encoding="utf-8"), re.M))
    after = set(re.findall(r"^([a-z][\w.-]*)==", kept, re.M))
    assert before - after == ({"chdb", "chdb-core"} if engine == "no" else set())
    for entry in re.split(r"\n(?=[a-z])", kept)[1:]:
        assert "--hash=sha256:" in entry, entry


def test_no_part_of_the_compose_file_needs_what_the_image_leaves_out() -> None:
    # The parts, and what the manual tells to ask in their containers.
    parts = "flowtide.stack, flowtide.child, flowtide.single, flowtide.simulate_command, collector.shipper, sinks.kafka"
    asked = "flowtide.query, flowtide.doctor, flowtide.store_command, sinks.backup, sinks.store_status"
    code = f"""import sys
sys.modules["chdb"] = None
import {parts}, {asked}, sinks.clickhouse, sinks.service, sinks.rollups, sinks.back_fill, enricher.service"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


@contextmanager
def answering(status: int) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b'{"ok": false, "sink": "no room"}')

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def healthy(data: Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, str(DEPLOY / "healthcheck.py")],
        env=os.environ | {"FLOWTIDE_DATA": str(data)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert not done.stderr
    return done.returncode, done.stdout


def test_the_health_check_asks_whoever_says_that_it_runs(tmp_path: Path, clean: pytest.MonkeyPatch) -> None:
    settings = load(data=tmp_path)
    (tmp_path / "state").mkdir()
    assert healthy(tmp_path) == (1, "nothing runs on this data directory yet\n")
    files = {runtime_file(settings), collect_file(settings), *(single_file(settings, command) for command in ROLES)}
    with answering(200) as well, answering(503) as ill, answering(404) as server:
        for path in files:
            path.write_text(json.dumps({"metrics": well}), encoding="utf-8")
            assert healthy(tmp_path)[0] == 0, path
            path.write_text(json.dumps({"metrics": ill}), encoding="utf-8")
            status, said = healthy(tmp_path)
            assert status == 1 and "no room" in said, path
            path.unlink()
        # A stack's own words; a server of ClickHouse has no such place, a shipper waits for its brokers.
        for told in (
            Addresses((), f"{well}/metrics", server, f"{ill}/metrics"),
            Addresses((), f"{well}/metrics", well),
        ):
            runtime_file(settings).write_text(json.dumps(asdict(told)), encoding="utf-8")
            assert healthy(tmp_path)[0] == 0
    assert healthy(tmp_path)[0] == 1  # it said so once, and is gone


# make-secrets


def make_secrets(file: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(DEPLOY / "make-secrets"), str(file)], capture_output=True, text=True, timeout=60, check=False
    )


def read_env(file: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in file.read_text(encoding="utf-8").splitlines())


def test_secrets_are_made_once_and_for_the_owner_only(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    done = make_secrets(file)
    assert done.returncode == 0, done.stderr
    made = read_env(file)
    assert set(made) == set(SECRETS)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for account in ("CLICKHOUSE_FLOWTIDE", "CLICKHOUSE_GRAFANA"):
        password = made[f"{account}_PASSWORD"]
        assert re.fullmatch("[0-9a-f]{48}", password)
        assert made[f"{account}_SHA256"] == hashlib.sha256(password.encode()).hexdigest()
    passwords = {value for name, value in made.items() if name.endswith("PASSWORD")}
    assert len(passwords) == 3
    assert not any(value in done.stdout for value in passwords)
    before = file.read_bytes()
    assert make_secrets(file).returncode == 0
    assert file.read_bytes() == before


def test_what_somebody_wrote_stays_and_what_lacks_is_added(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("FLOWTIDE_TIMEZONE=Asia/Tokyo\nCLICKHOUSE_GRAFANA_PASSWORD=chosen", encoding="utf-8")
    assert make_secrets(file).returncode == 0
    made = read_env(file)
    assert file.read_text(encoding="utf-8").startswith(
        "FLOWTIDE_TIMEZONE=Asia/Tokyo\nCLICKHOUSE_GRAFANA_PASSWORD=chosen\n"
    )
    assert made["CLICKHOUSE_GRAFANA_SHA256"] == hashlib.sha256(b"chosen").hexdigest()
    file.write_text(file.read_text(encoding="utf-8").replace("=chosen", "=changed"), encoding="utf-8")
    done = make_secrets(file)
    assert done.returncode == 1 and "delete its line" in done.stderr


# Units, sysctl


UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
PARTS = ("collect", "enrich", "sink", "console")


def unit(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(path.read_text(encoding="utf-8"))
    return parser


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_units_start_commands_that_exist_without_rights_they_do_not_need(path: Path, clean: pytest.MonkeyPatch) -> None:
    service = unit(path)["Service"]
    for part in PARTS if "@" in path.name else ("",):
        executable, command = service["ExecStart"].replace("%i", part).split()
        assert executable == "/opt/flowtide/bin/flowtide"
        program().commands[command].make_context(command, [])
    assert service["User"] == "flowtide"
    assert f"\nu {service['User']} " in (DEPLOY / "systemd/flowtide.sysusers.conf").read_text(encoding="utf-8")
    for name, value in (("NoNewPrivileges", "yes"), ("ProtectSystem", "strict"), ("CapabilityBoundingSet", ""),
                        ("Restart", "always"), ("KillMode", "mixed")):  # fmt: skip
        assert service[name] == value
    environment = dict(pair.split("=", 1) for pair in service["Environment"].split())
    assert environment.pop("FLOWTIDE_CONFIG") == "/etc/flowtide/flowtide.toml"
    for key, value in environment.items():
        clean.setenv(key, value)
    assert str(load().data).startswith(f"/var/lib/{service['StateDirectory'].split('/')[0]}/")
    assert int(service["TimeoutStopSec"]) > 15 + 30 + 120  # what the parent gives its children, one after the other
    assert unit(path)["Install"]["WantedBy"] == "multi-user.target"


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze on this machine")
    wanted = []
    for path in UNITS:
        for part in PARTS if "@" in path.name else ("",):
            wanted.append(tmp_path / path.name.replace("@", f"@{part}"))
            text = path.read_text(encoding="utf-8")
            wanted[-1].write_text(text.replace("/opt/flowtide/bin/flowtide", "/bin/true"), encoding="utf-8")
        if "@" in path.name:
            shutil.copy(wanted[-1], tmp_path / path.name)
    done = subprocess.run(
        ["systemd-analyze", "verify", *map(str, wanted)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0 and not [line for line in done.stderr.splitlines() if "flowtide" in line], done.stderr


def test_the_socket_buffer_that_the_collector_asks_for_is_allowed() -> None:
    lines = [line.split("=") for line in (DEPLOY / "sysctl.conf").read_text().splitlines() if line and line[0] != "#"]
    allowed = {name.strip(): int(value) for name, value in lines}
    # socket(7): the kernel doubles what is set, and accounts the double.
    assert 2 * allowed["net.core.rmem_max"] >= ReceiverSettings().buffer_bytes


# The operating manual


def commands_of(text: str) -> list[list[str]]:
    """Words of every ``flowtide ...`` in blocks of commands and between backticks."""
    blocks = [line.split("  #")[0] for line in text.splitlines() if line.startswith("    ")]
    found = re.findall(r"(?:^|[\s/`])flowtide ([a-z](?:[a-z@-]|\"[^\"]*\"|[A-Z=:/0-9. ])+)", "\n".join(blocks))
    found += re.findall(r"`flowtide ([a-z][^`]*)`", text)
    return [shlex.split(words.strip()) for words in found]


def test_every_command_of_the_manual_exists() -> None:
    seen = set()
    for words in commands_of((DEPLOY / "README.md").read_text(encoding="utf-8")):
        command = program()
        while hasattr(command, "commands") and words:
            found = command.get_command(None, words[0])
            assert found is not None, f"flowtide {' '.join(words)}"
            command = found
            words.pop(0)
            seen.add(command.name)
        known = {option for parameter in command.params for option in parameter.opts}
        for word in words:
            if word.startswith("-") and not re.fullmatch(r"-\d+h", word):
                assert word.split("=")[0] in known, f"{command.name} {word}"
    assert {"run", "doctor", "migrate", "sql", "push"} <= seen


def test_every_file_that_the_manual_names_exists() -> None:
    text = (DEPLOY / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\bdeploy/[\w./@-]*\w", text)) | {
        str(Path("deploy") / link) for link in re.findall(r"\]\(([^)#:]+)\)", text)
    }
    assert len(named) > 5
    for name in named:
        assert (ROOT / name).exists(), name
    for script in (DEPLOY / "make-secrets",):
        assert os.access(script, os.X_OK)
        assert subprocess.run(["sh", "-n", str(script)], timeout=10, check=False).returncode == 0

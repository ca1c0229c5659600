"""What readers may not do: each attempt is refused, and leaves no file and no change behind."""

import http.client
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from sinks.embedded import EmbeddedStore
from sinks.http_port import HttpPort
from sinks.settings import HttpSettings
from tests.stored import TIMEZONE, flows, table

SECRET = "the words of the secret file"
REFUSED = (164, 497, 36, 115)

ATTEMPTS = [
    # files of the host, read
    "SELECT * FROM file('{secret}', LineAsString)",
    "SELECT * FROM `file`('{secret}', LineAsString)",
    "SELECT * FROM FiLe('{secret}', 'LineAsString')",
    "SELECT/**/*/**/FROM/**/file('{secret}', LineAsString)",
    "SELECT * FROM -- a comment\nfile('{secret}', LineAsString)",
    "#! a comment\nSELECT * FROM file('{secret}', LineAsString)",
    "FROM file('{secret}', LineAsString) SELECT *",
    "SELECT file('{secret}')",
    "SELECT FILE('{secret}')",
    "SELECT `file`('{secret}')",
    "SELECT arrayMap(file, ['{secret}'])",
    "SELECT arrayMap(`file`, ['{secret}'])",
    "SELECT arrayMap(x -> file(x), ['{secret}'])",
    "SELECT arrayFirst(file, ['{secret}']), arrayFold((a, x) -> file(x), ['{secret}'], '')",
    "WITH (x -> file(x)) AS f SELECT f('{secret}')",
    "WITH file AS f SELECT arrayMap(f, ['{secret}'])",
    "SELECT * APPLY file FROM (SELECT '{secret}' AS a)",
    "SELECT * APPLY(file) FROM (SELECT '{secret}' AS a)",
    "SELECT COLUMNS('a') APPLY(x -> file(x)) FROM (SELECT '{secret}' AS a)",
    "SELECT * REPLACE(file('{secret}') AS a) FROM (SELECT '' AS a)",
    "WITH t AS (SELECT * FROM file('{secret}', LineAsString)) SELECT * FROM t",
    "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT length(file('{secret}')) FROM t WHERE n < 2) SELECT n FROM t",
    "SELECT (SELECT line FROM file('{secret}', LineAsString) LIMIT 1)",
    "SELECT 1 WHERE 'x' IN (SELECT * FROM file('{secret}', LineAsString))",
    "SELECT 1 WHERE 'x' IN file('{secret}')",
    "SELECT * FROM numbers(1) AS n JOIN file('{secret}', LineAsString) AS f ON n.number = length(f.line) * 0",
    "SELECT 1 UNION ALL SELECT length(line) FROM file('{secret}', LineAsString)",
    "SELECT 1 EXCEPT SELECT length(file('{secret}'))",
    "SELECT * FROM view(SELECT file('{secret}'))",
    "SELECT * FROM viewIfPermitted(SELECT file('{secret}') ELSE null('a String'))",
    "SELECT * FROM viewExplain('EXPLAIN', '', (SELECT file('{secret}')))",
    "SELECT * FROM eval('SELECT file(''{secret}'')')",
    "SELECT number FROM numbers(2) ORDER BY file('{secret}')",
    "SELECT number FROM numbers(2) GROUP BY number HAVING file('{secret}') != ''",
    "SELECT number FROM numbers(2) LIMIT length(file('{secret}'))",
    "SELECT sum(number) OVER (PARTITION BY file('{secret}')) FROM numbers(2)",
    "SELECT CASE WHEN 1 THEN file('{secret}') END, file('{secret}')::String, [file('{secret}')][1]",
    "EXPLAIN SELECT * FROM file('{secret}', LineAsString)",
    "EXPLAIN SYNTAX SELECT file('{secret}')",
    "EXPLAIN TABLE OVERRIDE mysql('127.0.0.1:9', 'a', 'b', 'c', 'd') PARTITION BY a",
    "DESCRIBE TABLE file('{secret}', LineAsString)",
    "DESC file('{secret}')",
    "DESCRIBE (SELECT file('{secret}'))",
    "SELECT * FROM fileCluster('default', '{secret}', LineAsString)",
    "SELECT * FROM filesystem('/etc')",
    "SELECT * FROM sqlite('{secret}', 't')",
    "SELECT * FROM icebergLocal('/etc')",
    "SELECT * FROM loop(file('{secret}', LineAsString)) LIMIT 1",
    "SELECT * FROM executable('cat', LineAsString, 'l String', (SELECT 1))",
    "SELECT catboostEvaluate('{secret}', 1)",
    # Python objects of this process
    "SELECT * FROM Python(request)",
    "SELECT * FROM python(SECRET)",
    # files of the host, written
    "SELECT 1 INTO OUTFILE '{new}'",
    "SELECT 1 INTO OUTFILE '{new}' TRUNCATE FORMAT CSV",
    "SELECT 1 INTO OUTFILE '{new}' AND STDOUT",
    "(SELECT 1) INTO OUTFILE '{new}'",
    "SELECT 1 UNION ALL SELECT 2 INTO OUTFILE '{new}'",
    "WITH 1 AS x SELECT x INTO OUTFILE '{new}' SETTINGS max_threads = 1",
    "EXPLAIN SELECT 1 INTO OUTFILE '{new}'",
    "EXPLAIN AST SELECT 1 INTO OUTFILE '{new}'",
    "SHOW TABLES INTO OUTFILE '{new}'",
    "SHOW CREATE TABLE flows INTO OUTFILE '{new}'",
    "SHOW FUNCTIONS INTO OUTFILE '{new}'",
    "SHOW ENGINES INTO OUTFILE '{new}'",
    "DESCRIBE TABLE flows INTO OUTFILE '{new}'",
    "EXISTS TABLE flows INTO OUTFILE '{new}'",
    "INSERT INTO FUNCTION file('{new}', CSV) SELECT 1",
    "INSERT INTO TABLE FUNCTION file('{new}', CSV, 'a UInt8') VALUES (1)",
    "INSERT INTO flows FROM INFILE '{secret}' FORMAT CSV",
    "BACKUP TABLE flows TO File('{new}')",
    "CREATE TABLE t (a String) ENGINE = File(CSV, '{new}')",
    # several statements
    "SELECT 1; SELECT 2",
    "SELECT 1; DROP TABLE flows",
    "SELECT 1;\n-- x\n; SELECT 1 INTO OUTFILE '{new}'",
    "SELECT 1 PARALLEL WITH DROP TABLE flows",
    # the network
    "SELECT * FROM url('http://127.0.0.1:9/', LineAsString)",
    "SELECT * FROM s3('http://127.0.0.1:9/a/b', CSV)",
    "SELECT * FROM remote('127.0.0.1:9', system.one)",
    "SELECT * FROM remoteSecure('127.0.0.1:9', system, one)",
    "SELECT * FROM mysql('127.0.0.1:9', 'a', 'b', 'c', 'd')",
    "SELECT * FROM cluster('default', system.one)",
    "SELECT aiGenerate('x')",
    "SELECT showCertificate('127.0.0.1')",
    # system tables outside the list, and functions that look around
    "SELECT * FROM system.query_log",
    "SELECT * FROM `system`.`processes`",
    'SELECT * FROM "system"."users"',
    "SELECT 1 WHERE 1 IN system.stack_trace",
    "SELECT * FROM numbers(1) AS n, system.server_settings",
    "SELECT (SELECT any(name) FROM system.disks)",
    "SELECT * FROM merge('system', '.*')",
    "SELECT * FROM merge(REGEXP('system'), 'users')",
    "SELECT * FROM mergeTreeIndex(currentDatabase(), 'flows')",
    "SELECT * FROM dictionary('x')",
    "DESCRIBE TABLE system.users",
    "SHOW CREATE TABLE system.users",
    "SHOW PROCESSLIST",
    "SHOW GRANTS",
    "SHOW USERS",
    "SHOW CREATE USER default",
    "DESCRIBE FILESYSTEM CACHE 'x'",
    "SELECT addressToLine(1)",
    "SELECT filesystemAvailable()",
    "SELECT sleep(3)",
    "SELECT sleepEachRow(1) FROM numbers(100)",
    "SELECT * FROM v(x = 1)",
    # settings
    "SELECT 1 SETTINGS readonly = 0",
    "SELECT * FROM (SELECT 1 SETTINGS readonly = 0)",
    "SELECT number FROM numbers(10000) SETTINGS max_result_rows = 0",
    "SELECT 1 SETTINGS max_memory_usage = DEFAULT",
    "SELECT 1 SETTINGS output_format_schema = '{new}'",
    "SELECT 1 SETTINGS format_template_resultset = '{secret}' FORMAT Template",
    "SELECT 1 SETTINGS allow_introspection_functions = 1",
    "SELECT * FROM {{t:Identifier}} SETTINGS param_t = 'flows'",
    "SET readonly = 0",
    "SET max_result_rows = 0",
    "USE system",
    # writing
    "INSERT INTO flows (octets) VALUES (1)",
    "INSERT INTO flows (octets) SELECT 1",
    "EXPLAIN INSERT INTO flows (octets) SELECT 1",
    "WITH x AS (SELECT 1) INSERT INTO flows (octets) SELECT * FROM x",
    "CREATE TABLE t (a UInt8) ENGINE = Memory",
    "CREATE TEMPORARY TABLE t (a UInt8)",
    "CREATE VIEW t AS SELECT 1",
    "CREATE FUNCTION f AS x -> file(x)",
    "CREATE USER u",
    "DROP TABLE flows",
    "TRUNCATE TABLE flows",
    "ALTER TABLE flows DELETE WHERE 1",
    "DELETE FROM flows WHERE 1",
    "OPTIMIZE TABLE flows FINAL",
    "DETACH TABLE flows",
    "RENAME TABLE flows TO t",
    "KILL QUERY WHERE 1",
    "SYSTEM STOP MERGES",
    "SYSTEM SHUTDOWN",
    "GRANT ALL ON *.* TO default",
    "CHECK TABLE flows",
    "EXECUTE AS default SELECT 1",
    "BEGIN TRANSACTION",
]

ALLOWED = [
    "SELECT count() FROM flows",
    "SELECT 1;",
    "-- a comment\nSELECT 1 -- and another",
    "WITH 2 AS x SELECT x * number FROM numbers(3) SETTINGS max_threads = 1",
    "SELECT * FROM values('a UInt8, b String', (1, 'x'))",
    "SELECT * FROM view(SELECT sum(octets) FROM flows)",
    "SELECT arrayMap(x -> x + 1, [1, 2]), quantileExact(0.5)(number) FROM generate_series(1, 3) AS z, numbers(3) AS n",
    "SELECT f.octets FROM v_flow AS f JOIN (SELECT 1 AS one) AS o ON f.direction = o.one",
    "SELECT toStartOfInterval(toDateTime(time), INTERVAL 60 second) AS time, sum(octets) FROM v_flow"
    " GROUP BY time ORDER BY time WITH FILL FROM toDateTime(0) TO toDateTime(600) STEP 60 LIMIT 3",
    "SELECT sum(octets) OVER (PARTITION BY exporter) FROM flows",
    "SELECT name FROM system.tables WHERE database = currentDatabase()",
    "SELECT table_name FROM information_schema.tables LIMIT 1",
    "SELECT octets AS file FROM flows",
    "SELECT 'INTO OUTFILE ''x''; DROP TABLE flows' AS sql",
    "SHOW TABLES",
    "SHOW DATABASES",
    "SHOW COLUMNS FROM flows",
    "SHOW CREATE TABLE flows",
    "SHOW CREATE VIEW v_flow",
    "SHOW FUNCTIONS LIKE 'sum'",
    "SHOW ENGINES",
    "SHOW SETTINGS LIKE 'max_threads'",
    "DESCRIBE TABLE flows",
    "DESC v_flow FORMAT JSON",
    "DESCRIBE (SELECT 1 AS x)",
    "EXISTS TABLE flows",
    "EXISTS nowhere",
    "EXPLAIN SELECT count() FROM flows",
    "EXPLAIN AST SELECT 1",
    "EXPLAIN PIPELINE SELECT 1",
    "EXPLAIN indexes = 1 SELECT count() FROM flows WHERE bus_offset = 1",
]


@pytest.fixture
def port(store: EmbeddedStore) -> Iterator[HttpPort]:
    store.insert("flows", table(flows(7)), token="t")
    served = HttpPort(store, HttpSettings(listen="127.0.0.1:0", max_rows=5000), lambda: {"ok": True}, TIMEZONE)
    yield served
    served.close()


def ask(address: tuple[str, int], sql: str, **fields: str) -> tuple[int, int, str]:
    connection = http.client.HTTPConnection(*address, timeout=20)
    connection.request("POST", f"/?{urlencode(fields)}", sql.encode())
    answer = connection.getresponse()
    body = answer.read().decode(errors="replace")
    connection.close()
    return answer.status, int(answer.headers.get("X-ClickHouse-Exception-Code", 0)), body


def test_a_text_of_any_bytes_is_no_fault_of_the_port(port: HttpPort) -> None:
    connection = http.client.HTTPConnection(*port.start(), timeout=20)
    connection.request("POST", "/", b"SELECT hex('\xff')")
    answer = connection.getresponse()
    body = answer.read()
    assert body == b"FF\n" or b"DB::Exception" in body, body  # the engine's word, whichever, and not Python's
    assert b"Unicode" not in body
    connection.close()


def state(store: EmbeddedStore) -> tuple[object, ...]:
    names = store.query("SELECT groupArray(name) AS n FROM (SELECT name FROM system.tables ORDER BY name)").to_pylist()
    return names, store.query("SELECT count() AS n, sum(octets) AS o FROM flows").to_pylist()


def test_every_attempt_is_refused_and_leaves_nothing(port: HttpPort, store: EmbeddedStore, tmp_path: Path) -> None:
    address = port.start()
    secret, new = tmp_path / "secret.txt", tmp_path / "new"
    secret.write_text(SECRET + "\n")
    before, wrong = state(store), []
    for attempt in ATTEMPTS:
        sql = attempt.format(secret=secret, new=new)
        status, code, body = ask(address, sql)
        # A syntax error is no refusal: the attempt would be one that never was.
        if status == 200 or SECRET in body or (code not in REFUSED and "Multi-statements are not allowed" not in body):
            wrong.append((sql, status, body[:200]))
    assert not wrong, "\n".join(map(str, wrong))
    assert [path.name for path in tmp_path.iterdir()] == ["secret.txt"]
    # The engine reads and writes relative names beside its own files.
    assert not list(store.directory.glob("**/new*"))
    assert state(store) == before


def test_parameters_are_no_way_in(port: HttpPort, tmp_path: Path) -> None:
    address = port.start()
    for sql, parameters in [
        ("SELECT * FROM system.{t:Identifier}", {"t": "users"}),
        ("SELECT * FROM {d:Identifier}.{t:Identifier}", {"d": "system", "t": "users"}),
        ("SELECT * FROM {d:Identifier}.users", {"d": "system"}),
        ("SELECT * FROM {d:Identifier}.users", {"d": "s\\x79stem"}),
        ("SELECT * FROM {t:Identifier}", {"t": "system.users"}),
        ("SELECT 1 WHERE 'x' IN {d:Identifier}.users", {"d": "system"}),
        ("SELECT arrayMap({f:Identifier}, ['/etc/hostname'])", {"f": "file"}),
        ("SELECT * FROM view(SELECT * FROM {d:Identifier}.users)", {"d": "system"}),
    ]:
        status, code, body = ask(address, sql, **{f"param_{name}": value for name, value in parameters.items()})
        assert (status == 200, code in REFUSED) == (False, True), (sql, body)
    assert ask(address, "SELECT count() FROM {t:Identifier}", param_t="flows")[::2] == (200, "7\n")


def test_the_url_is_no_way_in(port: HttpPort, tmp_path: Path) -> None:
    address = port.start()
    for fields in (
        {"database": "system"},
        {"database": "INFORMATION_SCHEMA"},
        {"max_memory_usage": "x"},
        {"output_format_schema": str(tmp_path / "new")},
        {"format_schema": "x"},
        {"allow_ddl": "1"},
        {"dialect": "kusto"},
    ):
        assert ask(address, "SELECT 1 AS dummy", **fields)[0] != 200, fields
    assert ask(address, "INSERT INTO flows (octets) VALUES (1)", readonly="0")[1] == 164
    assert ask(address, "SELECT * FROM file('/etc/hostname', LineAsString)", query="")[0] != 200
    assert ask(address, "\nINTO OUTFILE '/tmp/x'", query="SELECT 1")[0] != 200
    assert not list(tmp_path.iterdir())


def test_reading_is_not_hindered(port: HttpPort) -> None:
    address = port.start()
    answers = {sql: ask(address, sql) for sql in ALLOWED}
    assert {sql: body for sql, (status, _, body) in answers.items() if status != 200} == {}


def test_deep_nesting_is_an_answer(port: HttpPort) -> None:
    address = port.start()
    for sql in ("SELECT " + "(" * 5000 + "1" + ")" * 5000, "SELECT " + "negate(" * 900 + "1" + ")" * 900,
                "SELECT " + "[" * 2000 + "]" * 2000):  # fmt: skip
        assert ask(address, sql)[0] in (200, 400, 500)
    assert ask(address, "SELECT 1")[0] == 200

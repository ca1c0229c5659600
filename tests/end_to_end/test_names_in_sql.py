"""What exporters tell of themselves, and the operator's table, are SQL in a running stack."""

import socket
import struct
import time

from tests.end_to_end.conftest import Running
from tests.wire import flowset, options9, template


def test_names_and_sequence_counters_are_there(running: Running) -> None:
    now = int(time.time())
    interfaces = flowset(1, options9(300, [(1, 4)], (10, 4), (82, 8), (83, 8)))
    told = flowset(300, struct.pack("!II8s8s", 0, 7, b"Gi0/7", b"core"))
    flows = flowset(0, template(256, (1, 4), (2, 4))) + flowset(256, struct.pack("!II", 100, 1))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as exporter:
        for number, body in ((1, interfaces + told), (2, flows), (6, flows)):
            head = struct.pack("!HHIIII", 9, 10, 3_600_000, now, number, 42)
            exporter.sendto(head + body, ("127.0.0.1", running.port))
    running.wait(lambda: running.totals()["flows"] == 2)
    names = "SELECT domain, kind, id, name, description FROM v_exporter_name"
    running.wait(lambda: len(running.query(names)) == 1)
    name = {"kind": "interface", "id": 7, "name": "Gi0/7", "description": "core"}
    assert running.query(names) == [{"domain": 42, **name}]
    missed = "SELECT sum(value) AS missed FROM exporter_health_1m WHERE counter = 'sequence_missed'"
    running.wait(lambda: running.query(missed) == [{"missed": 3}], timeout=40)

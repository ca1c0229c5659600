"""Receiving alone: ``python -m bench.receive`` prints datagrams a second, CPU and loss, over loopback.

The load comes from a process of its own.  CPU is that of the receiving process: kernel, reading thread and the views
made for the decoder.
"""

import json
import subprocess
import sys
import time

from collector.receiver import ReceiverSettings, make_receiver
from collector.sockets import open_sockets

_SECONDS = 2.0


def measure(receiver: str, buffer_bytes: int, datagrams_per_second: int, records: int = 28) -> dict[str, float]:
    """One run; ``datagrams_per_second`` 0 is as fast as the load generator goes."""
    settings = ReceiverSettings.model_validate({"listen": ("127.0.0.1:0",), "receiver": receiver})
    sockets = open_sockets(settings.listen, buffer_bytes)
    made = make_receiver(sockets, settings)
    made.start()
    command = [sys.executable, "-m", "bench.load", "--to", sockets[0].name, "--records", str(records)]
    command += ["--rate", str(datagrams_per_second * records), "--seconds", str(_SECONDS)]
    before = time.process_time()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as load:
        received, quiet = 0, 0
        while quiet < 3:
            datagrams = made.read(0.1)
            received += len(datagrams) if datagrams is not None else 0
            quiet = 0 if datagrams is not None or load.poll() is None else quiet + 1
        assert load.stdout is not None
        sent = json.loads(load.stdout.read())
    cpu = time.process_time() - before
    made.stop()
    drops = sum(made.kernel_drops().values()) + made.counts().dropped
    for bound in sockets:
        bound.close()
    return {
        "granted_bytes": sockets[0].granted_bytes,
        "sent_per_second": round(sent["datagrams"] / sent["seconds"]),
        "received": received,
        "dropped": drops,
        "cpu_us_per_datagram": round(1e6 * cpu / max(received, 1), 2),
        "cpu_seconds_per_million_flows": round(cpu / max(received * records, 1) * 1e6, 3),
    }


def main() -> None:
    for receiver, buffer_bytes, rate, records in (
        ("recvmmsg", 212_992, 30_000, 2),
        ("recvmmsg", 64 << 20, 36_000, 28),
        ("recvmmsg", 64 << 20, 0, 28),
        ("asyncio", 64 << 20, 10_000, 28),
    ):
        result = measure(receiver, buffer_bytes, rate, records)
        told = ", ".join(f"{name} {value:,}" for name, value in result.items())
        print(f"{receiver}, {rate or 'as fast as it goes'} datagrams/s of {records} records: {told}", flush=True)


if __name__ == "__main__":
    main()

"""A child that is a copy of its parent has nothing of it but memory; each trial is a process of one thread."""

import json
import subprocess
import sys
import textwrap
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="copies are made on Linux only")


def tried(program: str, errors: str = "") -> Any:
    """What the last line of the program's output is, as JSON."""
    words = [sys.executable, "-c", textwrap.dedent(program)]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=30)
    assert ended.returncode == 0, ended.stderr
    assert errors in ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


def test_it_has_the_descriptors_it_is_given_and_no_other() -> None:
    heard, status, given = tried(
        """
        import json, os, sys
        from flowtide.forked import Forked
        given, other = os.open("/dev/zero", os.O_RDONLY), os.open("/dev/null", os.O_RDWR)

        def run():
            line = sys.stdin.readline()
            there = [int(name) for name in os.listdir("/proc/self/fd")]
            there = [fd for fd in there if os.path.exists(f"/proc/self/fd/{fd}")]  # the listing's own is closed by now
            print(json.dumps([line, sorted(there)]), flush=True)
            return 7

        print("of the parent", end=" ")  # waits in the buffer: the copy must not say it, too
        child = Forked(run, [given])
        child.stdin.write(b"hello\\n")
        child.stdin.flush()
        heard = json.loads(child.stdout.readline())
        print()
        print(json.dumps([heard, child.wait(10), given]))
        """
    )
    assert (heard, status) == (["hello\n", [0, 1, 2, given]], 7)


def test_its_input_ends_with_the_parent_although_a_sibling_was_copied_later() -> None:
    assert tried(
        """
        import json, os, sys, time
        from flowtide.forked import Forked
        first = Forked(lambda: len(sys.stdin.read()), [])
        second = Forked(lambda: time.sleep(20) or 0, [])  # would hold the first one's input open
        first.stdin.close()
        print(json.dumps(first.wait(10)))
        second.kill()
        """
    ) == 0  # fmt: skip


def test_signals_are_its_own_not_the_parents() -> None:
    told, status, late = tried(
        """
        import json, os, signal, subprocess, time
        from flowtide.forked import Forked
        told = []
        signal.signal(signal.SIGTERM, lambda *_: told.append(os.getpid()))
        child = Forked(lambda: time.sleep(20) or 0, [])
        try:
            child.wait(0.05)
            late = False
        except subprocess.TimeoutExpired:
            late = True
        child.send_signal(signal.SIGTERM)
        status = child.wait(10)
        child.send_signal(signal.SIGTERM)  # to nobody
        print(json.dumps([told, status, late]))
        """
    )
    assert (told, status, late) == ([], -15, True)


def test_a_mistake_in_it_never_reaches_the_frames_of_the_parent() -> None:
    status, cleaned = tried(
        """
        import json
        from flowtide.forked import Forked
        cleaned = []
        try:
            child = Forked(lambda: 1 // 0, [])
            status = child.wait(10)
        finally:
            cleaned.append(1)
        print(json.dumps([status, cleaned]))
        """,
        "ZeroDivisionError",
    )
    assert (status, cleaned) == (1, [1])


def test_a_process_of_several_threads_is_not_copied() -> None:
    assert tried(
        """
        import json, threading
        from flowtide.forked import can_fork
        alone, over = can_fork(), threading.Event()
        other = threading.Thread(target=over.wait)
        other.start()
        with_another = can_fork()
        over.set()
        other.join()
        print(json.dumps([alone, with_another, can_fork()]))
        """
    ) == [True, False, True]  # fmt: skip


def test_a_child_is_told_restarted_and_named() -> None:
    facts, again, name, starts = tried(
        """
        import json, os, sys, time
        from flowtide.children import Child, stop_event
        from flowtide.forked import name_process

        def be(name):
            name_process(f"ft-{name}")
            told = json.loads(sys.stdin.readline())
            stop = stop_event()
            line = json.dumps({"pid": os.getpid(), "told": told}).encode() + b"\\n"
            os.write(1, line[:5])  # it may come in pieces
            time.sleep(0.1)
            os.write(1, line[5:])
            stop.wait(20)
            return 0

        child = Child("some", fork=be)
        child.prepare()
        prepared = child.pid
        child.start('"first"')
        assert child.listen(10)
        assert child.pid == prepared == child.facts["pid"]
        facts = child.facts["told"]
        name = open(f"/proc/{child.pid}/comm").read().strip()
        child.process.kill()
        child.process.wait(10)
        while not child.ready.is_set() or child.facts["pid"] == prepared:
            child.tend('"second"')
            time.sleep(0.01)
        again = child.facts["told"]
        assert child.stop(10)
        print(json.dumps([facts, again, name, child.starts]))
        """
    )
    assert (facts, again, name, starts) == ("first", "second", "ft-some", 2)


def test_libraries_and_the_engine_do_without_pandas() -> None:
    assert tried(
        """
        from flowtide.lean import loading, start_lean
        start_lean()
        start_lean()
        import gc, json, os, sys, tempfile
        from pathlib import Path
        with loading():
            import numpy as np
            import pyarrow as pa
            from sinks.embedded import EmbeddedStore
        with tempfile.TemporaryDirectory() as folder:
            store = EmbeddedStore(Path(folder))
            store.command("CREATE TABLE some (a Int64, b String) ENGINE = MergeTree ORDER BY a")
            store.insert("some", pa.table({"a": pa.array(np.arange(3)), "b": ["x", "y", "z"]}), token="one")
            rows = store.query("SELECT sum(a) AS a, max(b) AS b FROM some").to_pylist()
            store.close()
        names = [type(finder).__name__ for finder in sys.meta_path]
        print(json.dumps([rows, "pandas" in sys.modules, names.count("_NoPandas"), gc.isenabled()]))
        """
    ) == [[{"a": 3, "b": "z"}], False, 1, True]  # fmt: skip

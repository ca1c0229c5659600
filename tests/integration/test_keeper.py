import numpy as np

from sinks.embedded import EmbeddedStore
from sinks.keeper import Keeper
from tests.stored import START_MS, flows, table


def used(store: EmbeddedStore) -> int:
    sql = "SELECT sum(bytes_on_disk) AS b FROM system.parts WHERE active AND database = currentDatabase()"
    return int(store.query(sql).column("b")[0].as_py())


def test_the_oldest_raw_parts_go_and_rollups_stay(store: EmbeddedStore) -> None:
    store.command("SYSTEM STOP MERGES flows")
    rng = np.random.default_rng(1)
    for number in range(6):
        # The first to arrive are the latest by flow time: age is that of arrival.
        batch = flows(20_000, START_MS - number * 1000, octets=rng.integers(1, 10**9, 20_000))
        store.insert("flows", table(batch), token=f"t{number}")
    store.command(
        "INSERT INTO bucket_1m (time, bucket, flows) SELECT ts, 'other', 1 FROM flows LIMIT 1000", token="rollup"
    )
    whole = used(store)
    bound = whole * 2 // 3
    keeper = Keeper(store, bound)
    keeper.tend(0.0)
    assert used(store) <= bound
    left = store.query("SELECT DISTINCT toUnixTimestamp64Milli(ts) AS t FROM flows ORDER BY t").column("t").to_pylist()
    assert left == [START_MS - number * 1000 for number in range(5, 5 - len(left), -1)]
    assert 0 < len(left) < 6
    assert store.query("SELECT sum(flows) AS f FROM bucket_1m").column("f")[0].as_py() == 1000


def test_without_a_bound_nothing_goes(store: EmbeddedStore) -> None:
    store.insert("flows", table(flows(1000)), token="t")
    Keeper(store, 0).tend(0.0)
    assert store.query("SELECT count() AS n FROM flows").column("n")[0].as_py() == 1000

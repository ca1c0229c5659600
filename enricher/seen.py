"""Who held a lease on a day: the users of a network, whether they sent anything or not."""

import numpy as np
import pyarrow as pa

from enricher.leases import LeaseTable

_NAMES = ("service", "segment", "access")


def seen_rows(table: LeaseTable, since_ms: int, until_ms: int) -> pa.Table:
    """``sub_id``, ``service``, ``segment`` and ``access`` of everybody who held something within [since, until).

    Unix milliseconds.  A user once for each service and access, in order of the ids; of several segments the newest
    lease's counts.
    """
    since, until = table.since[:-1], table.until[:-1]  # the last one is that of no lease
    within = np.flatnonzero((since < until_ms) & (until > since_ms) & (until > since))
    chosen = within[since[within].argsort(kind="stable")]
    newest: dict[tuple[int, str, str], str] = {}
    labels = {name: [table.labels[name][code] for code in table.codes[name].tolist()] for name in _NAMES}
    for sub_id, profile in zip(table.sub_id[chosen].tolist(), table.profile[chosen].tolist(), strict=True):
        newest[sub_id, labels["service"][profile], labels["access"][profile]] = labels["segment"][profile]
    keys = sorted(newest)
    return pa.table({
        "sub_id": pa.array([key[0] for key in keys], pa.uint64()),
        "service": pa.array([key[1] for key in keys], pa.string()),
        "segment": pa.array([newest[key] for key in keys], pa.string()),
        "access": pa.array([key[2] for key in keys], pa.string()),
    })  # fmt: skip

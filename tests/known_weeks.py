"""What stands beside the known flows: volumes that accounting tells, leases without a flow, and frozen weeks."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa

from sinks import Store

Row = dict[str, Any]
DAYS = (date(2026, 9, 14), date(2026, 9, 15), date(2026, 9, 21))
"""Local days of the accounting; the known flows are of the first and the last."""
OLD, NEW = (datetime(2026, 9, 23, hour, tzinfo=UTC) for hour in (1, 2))
HOURS = 168
_LEASED_ONLY = (3001, 3002, 3003)  # never seen by anybody
_KINDS: dict[str, pa.DataType] = {
    "day": pa.date32(), "monday": pa.date32(), "until": pa.date32(), "made": pa.timestamp("us", "UTC"),
    "sub_id": pa.uint64(), "rows": pa.uint64(), "in_octets": pa.int64(), "out_octets": pa.int64(),
    "direction": pa.uint8(), "ip_version": pa.uint8(), "proto": pa.uint8(), "port": pa.int32(), "hour": pa.uint16(),
    "hours": pa.uint16(), "school_week": pa.uint8(), "missing_hours": pa.list_(pa.timestamp("s", "UTC")),
    "octets": pa.int64(), "unmatched_octets": pa.int64(), "sampled_octets": pa.int64(), "packets": pa.int64(),
    "sampling": pa.float64(), "share": pa.float64(), "seen": pa.uint64(), "users": pa.uint64(), "zero": pa.uint64(),
    "mean": pa.float64(), "median": pa.float64(), "mode": pa.float64(), "top10": pa.float64(), "top1": pa.float64(),
    "bins": pa.list_(pa.int16()), "numbers": pa.list_(pa.uint64()), "sample": pa.list_(pa.int64()),
}  # fmt: skip


def known_accounting() -> list[Row]:
    """Of the known subscribers on IPoE and mobile, and of a few more; sets in force only."""
    rows = []
    for n, day in enumerate(DAYS):
        for number in range(0, 40):
            mobile, ipoe = number % 3 == 0, number % 3 and number % 4 == 1
            if not (mobile or ipoe):
                continue
            rows.append({
                "day": day, "sub_id": 1000 + number, "service": "mobile" if mobile else "fixed",
                "segment": "enterprise" if number % 10 == 9 else "personal", "access": "mobile" if mobile else "ipoe",
                # Somebody has nothing in a direction, and somebody nothing at all on a day.
                "in_octets": 0 if number in (5, 6) else 1_000_003 * (number + n),
                "out_octets": 13_000_017 * number * (n + 1),
            })  # fmt: skip
    return [row for row in rows if (row["sub_id"], row["day"]) != (1013, DAYS[1])]


def known_seen() -> list[Row]:
    """Who held a lease."""
    rows = [{**{name: row[name] for name in ("day", "sub_id", "service", "segment", "access")}}
            for row in known_accounting() if row["day"] != DAYS[2]]  # fmt: skip
    rows += [{"day": day, "sub_id": number, "service": "fixed", "segment": "personal", "access": "pppoe"}
             for day in DAYS[1:] for number in (1002, 1010, *_LEASED_ONLY)]  # fmt: skip
    # An enterprise from another day on.
    rows.append({"day": DAYS[2], "sub_id": 3003, "service": "fixed", "segment": "enterprise", "access": "pppoe"})
    return [row for row in rows if (row["sub_id"], row["day"], row["segment"]) != (3003, DAYS[2], "personal")]


def _week(monday: date, service: str, origin: str, method: str, size: float, **more: Any) -> Row:
    own = origin == "own"
    head = {"monday": monday, "service": service, "origin": origin, "made": NEW}
    volume = (("in", size), ("out", 4 * size))
    top = own or monday.year == 2024
    users = [
        {**head, "direction": way, "seen": 900 * own, "users": 870 * own, "zero": 20 * own, "octets": 0,
         "mean": base * 1.5, "median": base, "mode": base * 1.25 if size > 3e6 or way == 2 else None,
         "top10": 0.5 if top else None, "top1": 0.16 if top else None, "bins": [70, 72, 73 + way] if own else [],
         "numbers": [400, 250, 200] if own else [],
         "sample": [], "packets": 0, "sampled_octets": 0}
        for way, (_, base) in enumerate(volume, 1)
    ]  # fmt: skip
    access = {"fixed": ("pppoe", "ipoe"), "mobile": ("mobile",)}[service]
    hours = [
        {**head, "hour": hour, "kind": "volume", "segment": segment, "access": each, "ip_version": 0, "direction": way,
         "bucket": "", "volume_source": "netflow", "profile": "",
         "octets": int(size) * (hour % 24 + 1) * way * len(segment)}
        for hour in range(0, HOURS, 1 if service == "fixed" else 5) for segment in ("personal", "enterprise")
        for each in access for way in (1, 2)
    ] if own else []  # fmt: skip
    hours += [{**hours[0], "kind": "bucket", "bucket": "tcp/443", "octets": 10**15}] if own else []
    shares = {(0, -1): 1.0, (6, -1): 0.7, (6, -2): 0.62, (6, 443): 0.5, (6, 80): 0.1, (17, -1): 0.25, (17, 443): 0.2,
              (50, -1): 0.05}  # fmt: skip
    lean = (monday.year - 2020) / 100
    ports = [
        {**head, "access": access[0], "ip_version": version, "proto": proto, "port": port, "octets": 0, "packets": 0,
         "share": (share + lean * (port == 443)) * part}
        for (proto, port), share in shares.items() for version, part in (((4, 0.75), (6, 0.25)) if own else ((0, 1.0),))
    ] if monday.year >= 2020 else []  # fmt: skip
    ports += [{**ports[0], "access": "ipoe", "proto": 6, "port": 25, "share": 0.9}] if own else []  # not of the table
    header = {
        **head, "until": monday + timedelta(7), "label": "" if own else str(monday.year), "method": method,
        "zone": "Asia/Tokyo", "school_week": 1, "hours": HOURS * own, "missing_hours": [], "octets": 10**12 * own,
        "unmatched_octets": 10**10 * own, "sampling": 1000.0 if own else 1.0, "packets": 0, "facts": "", "checksum": "",
        **more,
    }  # fmt: skip
    return {"report_week_user": users, "report_week_hour": hours, "report_week_port": ports, "report_week": [header]}


def known_weeks() -> list[Row]:
    """Sets in force: by table, its rows; four own weeks and five published ones of fixed, one of mobile."""
    own = [(date(2023, 5, 29), "flowtide-0"), (date(2024, 6, 3), "flowtide-1"), (date(2025, 6, 2), "flowtide-1")]
    published = [(date(2018, 5, 28), "iij-1"), (date(2019, 6, 3), "iij-2"), (date(2020, 6, 1), "iij-2"),
                 (date(2021, 5, 31), "iij-3"), (date(2024, 6, 3), "iij-3")]  # fmt: skip
    weeks = [_week(day, "fixed", "own", method, (2 + n) * 1e6) for n, (day, method) in enumerate(own)]
    hole = _week(date(2026, 9, 14), "fixed", "own", "flowtide-1", 9e6,
                 missing_hours=[datetime(2026, 9, 16, 3, tzinfo=UTC)],
                 facts='{"silent": {"192.0.2.1": [1], "192.0.2.7": [1, 2]},'
                 ' "missing_days": {"ipoe of gateway": ["2026-09-16"], "ipoe of w": []}}')  # fmt: skip
    weeks += [hole] + [_week(day, "fixed", "iij", method, (n + 3) * 1.5e6) for n, (day, method) in enumerate(published)]
    return [*weeks, _week(date(2024, 6, 3), "mobile", "own", "flowtide-1", 5e6)]


def store_weeks(store: Store) -> None:
    """All of it, and beside it sets that are in force no more, or never were."""
    accounting = [
        {**row, "volume_source": "accounting", "source": "gateway", "made": NEW} for row in known_accounting()
    ]
    gone = [{**row, "made": OLD, "out_octets": 10**12} for row in accounting]
    never = [{**row, "made": NEW + timedelta(hours=1), "out_octets": 10**13} for row in accounting]
    _insert(store, "accounting_1d", [*gone, *accounting, *never])
    _insert(store, "accounting_import", [
        {"day": day, "source": "gateway", "made": made, "rows": 1, "in_octets": 0, "out_octets": 0, "checksum": ""}
        for day in DAYS for made in (OLD, NEW)])  # fmt: skip
    _insert(store, "subscriber_seen_1d", [{**row, "made": NEW} for row in known_seen()])
    weeks = known_weeks()
    for name in weeks[0]:
        rows = [row for week in weeks for row in week[name]]
        stale = [{**row, "made": OLD, **({"share": 9.0} if name == "report_week_port" else {})} for row in rows]
        # Of these the header was never written.
        torn = [{**row, "made": NEW + timedelta(hours=1)} for row in rows if name != "report_week"]
        _insert(store, name, [*stale, *rows, *torn])


def _insert(store: Store, table: str, rows: list[Row]) -> None:
    schema = pa.schema([(name, _KINDS.get(name, pa.string())) for name in rows[0]])
    store.insert(table, pa.Table.from_pylist(rows, schema), token=f"known/{table}")

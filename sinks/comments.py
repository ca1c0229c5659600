"""What every column of the store means, with its unit and where it comes from: COMMENTs, told to the engine.

Raw columns are told by ``sinks/schema.py``; columns that rollups, observations and views add are told here.  Comments
follow the code at every start of a store, so a column added later has its own without a file of ``ddl/``.
"""

from collections.abc import Mapping

import structlog

from sinks import Store, StoreRefused
from sinks.inserts import literal, quoted
from sinks.rollup_tables import STEPS
from sinks.schema import FLOW, Column

log = structlog.get_logger("sinks")

_UNITS: Mapping[str, str] = {
    "octets": "octets", "octets_est": "octets", "packets": "packets", "packets_est": "packets",
    "ts": "UTC, milliseconds", "ts_start": "UTC, milliseconds", "received": "UTC, milliseconds",
    "sampling": "packets", "src_mask": "bits", "dst_mask": "bits",
}  # fmt: skip
_OURS: Mapping[str, str] = {
    "exporter": "UDP source address", "received": "clock of our host", "collector": "collector.name or host name",
    "sampling_source": "our rule", "copy": "our rule; RFC 5103", "flags": "our rule",
    "extra": "elements chosen by setting; IANA registry",
    "octets_est": "our rule: sampled times interval", "packets_est": "our rule: sampled times interval",
    "sub_id": "lease at flow end, HMAC-SHA-256 under the site's key", "service": "lease", "segment": "lease",
    "access": "lease", "sub_group": "lease", "direction": "our rule: which end is the subscriber",
    "lower_port": "our rule: lower of both ports of TCP and UDP",
    "bucket": "our rule: lower port or protocol", "bus_partition": "flows.enriched", "bus_offset": "flows.enriched",
}  # fmt: skip
# IANA "IP Flow Information Export (IPFIX) Entities", names as registered.
_ELEMENTS: Mapping[int, str] = {
    1: "octetDeltaCount", 2: "packetDeltaCount", 4: "protocolIdentifier", 5: "ipClassOfService",
    6: "tcpControlBits", 7: "sourceTransportPort", 8: "sourceIPv4Address", 9: "sourceIPv4PrefixLength",
    10: "ingressInterface", 11: "destinationTransportPort", 12: "destinationIPv4Address",
    13: "destinationIPv4PrefixLength", 14: "egressInterface", 15: "ipNextHopIPv4Address", 16: "bgpSourceAsNumber",
    17: "bgpDestinationAsNumber", 32: "icmpTypeCodeIPv4", 58: "vlanId", 60: "ipVersion", 149: "observationDomainId",
    152: "flowStartMilliseconds", 153: "flowEndMilliseconds", 305: "samplingPacketInterval",
}  # fmt: skip

# (text, unit, source) of what is no raw column, or means something else in the table.
_COLUMNS: Mapping[str, tuple[str, str, str]] = {
    "time": ("begin of the bucket", "UTC", "our rule"),
    "hour": ("begin of the local hour", "UTC", "our rule, by flow end"),
    "day": ("local day", "", "our rule, by flow end"),
    "flows": ("flow rows", "flows", "our rule"),
    "sampled_octets": ("octets as exported", "octets", "IPFIX 1 octetDeltaCount"),
    "sampled_packets": ("packets as exported", "packets", "IPFIX 2 packetDeltaCount"),
    "subscribers": ("subscribers with flows", "subscribers", "our rule"),
    "started": ("flow start", "UTC, milliseconds", "IPFIX 152 flowStartMilliseconds"),
    "lasted": ("flow end less flow start", "seconds", "our rule"),
    "sound": ("1: neither implausible nor without a sampling interval; sum octets of these", "", "our rule"),
    "src": ("source address as people write it", "", "IPFIX 8 sourceIPv4Address or 27 sourceIPv6Address"),
    "dst": ("destination address as people write it", "", "IPFIX 12 or 28"),
    "protocol": ("name of the IP protocol", "", "IANA protocol numbers"),
    "port": ("lower port as buckets are written, tcp/993, or the protocol", "", "our rule"),
    "icmp_type": ("ICMP type", "", "IPFIX 32 icmpTypeCodeIPv4"),
    "icmp_code": ("ICMP code", "", "IPFIX 32 icmpTypeCodeIPv4"),
    "interface": ("index of the interface", "", "IPFIX 10 ingressInterface or 14 egressInterface; ifIndex"),
    "speed": ("speed as the exporter told it, 0 unknown", "bits a second", "options data, sFlow if_counters"),
    "status": ("bit 0 admin up, bit 1 operational up", "", "sFlow version 5 section 5.4"),
    "counter": ("name of a closed list", "", "our counter"),
    "value": ("how much the counter grew in this minute", "as the counter says", "our counter"),
    "stage": ("part of the path", "", "our rule"),
    "part": ("exporter or stage", "", "our rule"),
    "name": ("name", "", "the exporter, or networks.csv"),
    "description": ("description", "", "the exporter's options data"),
    "kind": ("interface, application, vrf or sampler", "", "our rule"),
    "id": ("number of the thing named", "", "the exporter's options data"),
    "told": ("when it was last told", "UTC", "clock of our host"),
    "prefix": ("prefix as people write it", "", "networks.csv"),
    "asn": ("AS number", "", "networks.csv"),
    "country": ("code of two letters", "", "networks.csv, ISO 3166-1"),
    "made": ("when the row was written", "UTC", "clock of our host"),
    "version": ("number of the migration", "", "sinks/ddl"),
    "applied": ("when it was applied", "UTC", "clock of our host"),
    "checksum": ("SHA-256 of the file", "", "our rule"),
    "rollup": ("rollup that has the range", "", "our rule"),
    "partition": ("partition of the enriched stream", "", "flows.enriched"),
    "a": ("first offset of the range", "", "flows.enriched"),
    "b": ("offset behind the range", "", "flows.enriched"),
    "rows": ("rows", "rows", "our counter"),
    "offset": ("offset of the enriched message", "", "flows.enriched"),
    "reason": ("why its rows were not inserted", "", "closed list"),
    "source_from": ("first offset of flows.raw it stands for", "", "flows.raw"),
    "source_to": ("offset of flows.raw behind it", "", "flows.raw"),
    "stream": ("identity of this making of the stream", "", "flows.enriched"),
    "base": ("flows.bus_offset of the stream's offset 0", "", "our rule"),
    "unmatched_flows": ("sound rows without a subscriber", "flows", "our rule"),
    "unmatched_octets_est": ("their octets times the sampling interval", "octets", "our rule"),
    "unknown_rate_flows": ("rows whose sampling interval is not known", "flows", "our rule"),
    "unknown_rate_octets": ("their octets as exported", "octets", "our rule"),
    "implausible_flows": ("rows with counters no link could carry", "flows", "our rule"),
    "other_point_flows": ("rows whose service is counted at another exporter", "flows", "our setting"),
    "other_point_octets_est": ("their octets times the sampling interval", "octets", "our setting"),
    "flagged_flows": ("rows with any flag", "flows", "our rule"),
    "attributed_flows": ("rows with a subscriber that nobody else claims", "flows", "our rule"),
    "attributed_octets_est": ("their octets times the sampling interval", "octets", "our rule"),
    "ambiguous_flows": ("rows whose address two leases claim", "flows", "our rule"),
    "ambiguous_octets_est": ("their octets times the sampling interval", "octets", "our rule"),
    "volume_source": ("netflow or accounting: never summed together", "", "our setting, store.volume_sources"),
    "in_octets": ("octets from the user", "octets", "accounting, or flows times the sampling interval"),
    "out_octets": ("octets to the user", "octets", "accounting, or flows times the sampling interval"),
    "min_sampling": ("smallest sampling interval", "packets", "IPFIX 305 samplingPacketInterval"),
    "sampling_sources": ("where intervals came from, one bit each, by number", "", "our rule, Source"),
    "max_sampling": ("largest sampling interval", "packets", "IPFIX 305 samplingPacketInterval"),
    "side": ("1 as source, 2 as destination", "", "our rule"),
    "length": ("prefix length, IPv4 counted from 96; 0 all the others", "bits", "our rule"),
    "address": ("address, or first of the prefix", "", "IPFIX 8, 12, 27 or 28"),
    "talker": ("address or prefix as people write it, other for the rest", "", "our rule"),
    "cut": ("a figure of this time, side and kind lacks at most this", "octets", "our rule"),
    "start": ("bus_offset from which on the rollup has every range", "", "flows.enriched"),
    "until": ("end of it", "UTC", "clock of our host"),
    "monday": ("first local day of the week", "", "our rule"),
    "origin": ("own, or who published it", "", "our rule"),
    "label": ("what the week is called", "", "our rule"),
    "method": ("version of the statistics; no growth is told across two", "", "our rule"),
    "zone": ("IANA zone of the local days", "", "our settings"),
    "school_week": ("1: not in the holidays", "", "told when frozen"),
    "hours": ("hours of the local week; 0: published", "hours", "our rule"),
    "missing_hours": ("hours without any flow of the service", "UTC", "our rule"),
    "unmatched_octets": ("octets of the week without a subscriber", "octets", "our rule"),
    "facts": ("how far the week can be trusted, JSON", "", "our rule"),
    "profile": ("of accounting: whose hours its days were laid over", "", "our rule"),
    "seen": ("personal users with a lease in the week; 0: not known", "users", "lease"),
    "users": ("personal users with a record in the week", "users", "flows or accounting"),
    "zero": ("of all of them, those without an octet in this direction", "users", "our rule"),
    "mean": ("mean of a user's octets a day", "octets", "our rule"),
    "median": ("median of a user's octets a day, exact", "octets", "our rule"),
    "mode": ("most frequent value, on the grid of twentieths of a decade", "octets", "our rule"),
    "top10": ("share of the heaviest tenth of the users in the octets, 0 to 1", "", "our rule"),
    "top1": ("share of the heaviest hundredth of the users in the octets, 0 to 1", "", "our rule"),
    "bins": ("tenths of a decade of a user's octets a day, ascending", "", "our rule"),
    "numbers": ("users in each bin", "users", "our rule"),
    "sample": ("octets a day of some users, both directions in one order", "octets", "our rule, by a hash"),
    "share": ("share of all octets of the access, 0 to 1", "", "our rule"),
    "month": ("first day of the local month", "", "our rule"),
    "days_told": ("days of it with any octets of the service and access", "days", "our rule"),
    **{
        f"{way}_{what}": (f"{what} {word} since the device started", what if what in ("octets", "packets") else
                          "packets", "sFlow version 5 section 5.4, if_counters")
        for way, word in (("in", "received"), ("out", "sent"))
        for what in ("octets", "packets", "multicast", "broadcast", "discards", "errors")
    },
}  # fmt: skip
_IN_TABLE: Mapping[tuple[str, str], tuple[str, str, str]] = {
    ("accounting_1d", "source"): ("who counted", "", "flowtide accounting import"),
    ("accounting_1d", "made"): ("the set that the row is of", "UTC", "clock of our host"),
    ("accounting_import", "source"): ("who counted", "", "flowtide accounting import"),
    ("accounting_import", "made"): ("the set; the newest of a day and source is in force", "UTC", "clock of our host"),
    ("accounting_import", "checksum"): ("SHA-256 of the day's rows", "", "our rule"),
    ("v_accounting", "source"): ("who counted", "", "flowtide accounting import"),
    ("subscriber_name", "subscriber"): ("subscription, on mobile the line", "", "lease"),
    ("subscriber_name", "since"): ("when the name was told", "UTC", "clock of our host"),
    ("lease_coverage_5m", "prefix"): ("/24 or /48 of an end without a lease; empty: the whole", "", "our rule"),
    ("lease_coverage_5m", "unmatched_flows"): ("rows without a subscriber", "flows", "our rule"),
    **{
        (table, "day"): ("local day", "", source)
        for table, source in (
            ("accounting_1d", "accounting"),
            ("accounting_import", "accounting"),
            ("v_accounting", "accounting"),
            ("subscriber_seen_1d", "lease"),
            ("v_subscribers_seen", "lease"),
            ("v_user_day", "flow end, or accounting"),
        )
    },
    ("setting", "name"): ("name of the setting", "", "our settings"),
    ("setting", "value"): ("its value", "", "our settings"),
    ("v_flow", "time"): ("flow end", "UTC, milliseconds", "IPFIX 153 flowEndMilliseconds"),
    ("v_flows", "time"): ("flow end", "UTC, milliseconds", "IPFIX 153 flowEndMilliseconds"),
    ("v_quality", "name"): ("address of the exporter, or the stage", "", "our rule"),
    ("schema_version", "name"): ("name of the migration", "", "sinks/ddl"),
    ("bus_skipped", "time"): ("when the sink met the message", "UTC", "clock of our host"),
    ("interface_counter", "time"): ("when it was told", "UTC", "clock of our host"),
    ("exporter_name", "time"): ("when it was told", "UTC", "clock of our host"),
    ("talker_5m", "kind"): ("address or prefix: two breakdowns of the same flows", "", "our rule"),
    ("v_talkers", "kind"): ("address or prefix: two breakdowns of the same flows", "", "our rule"),
    ("v_talkers", "side"): ("source or destination", "", "our rule"),
    ("talker_5m", "prefix"): ("address, or first of the prefix", "", "IPFIX 8, 12, 27 or 28"),
    ("interface_1m", "direction"): ("1 into the exporter, 2 out of it", "", "IPFIX 10 and 14"),
    ("v_interfaces", "direction"): ("in: into the exporter, out", "", "IPFIX 10 and 14"),
    ("v_interfaces", "name"): ("name as the exporter told it", "", "options data, sFlow"),
    ("rollup_plan", "base"): ("bus_offset of the stream's offset 0", "", "our rule"),
    ("rollup_hold", "id"): ("who holds", "", "our rule"),
    ("rollup_hold", "reason"): ("why", "", "our rule"),
    ("alert_history", "time"): ("when it happened: the time of the evaluation", "UTC, milliseconds", "our rule"),
    ("alert_history", "uid"): ("name of the rule in its file", "", "alert rules"),
    ("alert_history", "rule"): ("R0 to R10, or the uid", "", "alert rules, label rule"),
    ("alert_history", "title"): ("title of the rule", "", "alert rules"),
    ("alert_history", "severity"): ("page, warn, notice or info", "", "alert rules, label severity"),
    ("alert_history", "state"): ("pending, firing, resolved, normal, nodata or error", "", "our rule"),
    ("alert_history", "labels"): ("labels of the rule and of its row", "", "alert rules"),
    ("alert_history", "values"): ("numbers by refId", "as the rule says", "alert rules"),
    ("alert_history", "summary"): ("what was told", "", "alert rules, annotation summary"),
    ("alert_history", "reason"): ("why, where no row says it", "", "our rule"),
    ("alert_history", "started"): ("when it began to fire, time where it never did", "UTC, milliseconds", "our rule"),
    **{
        (f"{before}report_week{of}", name): told
        for before in ("", "v_")
        for of in ("", "_hour", "_user", "_port")
        for name, told in {
            "made": ("the set; the newest of a week, service and origin is in force", "UTC", "clock of our host"),
            "until": ("the next Monday, exclusive", "", "our rule"),
            "hour": ("hour of the local week, from 0", "", "our rule"),
            "kind": ("volume, or bucket: two breakdowns, never to be summed together", "", "our rule"),
            "octets": ("estimated octets of the week; of _hour, of the hour", "octets", "flows or accounting"),
            "sampled_octets": ("octets that flows tell; the rest is of accounting", "octets", "flows"),
            "packets": ("sampled packets behind them", "packets", "IPFIX 2 packetDeltaCount"),
            "sampling": ("packets that a sampled one stands for, mean over the week", "packets", "our rule"),
            "checksum": ("SHA-256 of the set", "", "our rule"),
            "port": ("lower port; -1 whole protocol, -2 below 1024, -3 from 1024 on", "", "our rule"),
            "proto": ("IP protocol; 0 everything, 255 those without a row", "", "IANA protocol numbers"),
        }.items()
    },
    ("v_report_week_port", "port"): ("as buckets are written; a protocol's name: the whole of it", "", "our rule"),
    ("report_week_hour", "direction"): ("1 IN, 2 OUT; 0 both", "", "our rule"),
    ("v_report_week_hour", "direction"): ("in, out, or both", "", "our rule"),
    ("report_week_user", "direction"): ("1 IN, 2 OUT", "", "our rule"),
    ("v_report_week_user", "direction"): ("in or out", "", "our rule"),
    ("v_volume_month", "octets"): ("estimated octets of the month", "octets", "flows or accounting"),
    ("audit_1m", "stage"): ("decoded, published, enriched or inserted", "", "our rule"),
}

TABLES: Mapping[str, str] = {
    "flows": "raw flows, one row a flow record and subscriber; by flow end",
    "bucket_1m": "octets by bucket and minute, long flows spread; sum the measures",
    "bucket_5m": "octets by bucket and five minutes, long flows spread; sum the measures",
    "bucket_1h": "octets by bucket and local hour, long flows spread; sum the measures",
    "bucket_end_5m": "octets by bucket and five minutes, by flow end: for shares and rules; sum the measures",
    "port_1h": "octets by lower port and local hour, by flow end; sum the measures",
    "port_1d": "octets by lower port and local day, by flow end; sum the measures",
    "subscriber_1d": "octets by subscriber and local day, by flow end; sum the measures",
    "interface_1m": "octets by interface and minute, long flows spread; sum the measures",
    "exporter_1m": "flows, sampling and quality by exporter and minute; sum the measures",
    "talker_5m": "the largest addresses of five minutes, and the others together; sum the measures",
    "as_5m": "octets by source and destination AS and five minutes; sum the measures",
    "lease_coverage_5m": "octets by what the leases say, by exporter, and the largest prefixes without one; sum them",
    "accounting_1d": "octets by user and local day as others count them, in sets; v_accounting has those in force",
    "accounting_import": "sets of accounting_1d; the newest of a day and source is in force",
    "subscriber_seen_1d": "users with a lease by local day, also silent ones",
    "subscriber_name": "who a pseudonym is",
    "exporter_health_1m": "the decoder's counters by exporter and minute; sum the value",
    "stage_1m": "counters of the path's stages by minute; sum the value",
    "interface_counter": "interface counters as devices count them, totals since their start",
    "exporter_name": "names that exporters told; the newest of a key holds",
    "alert_history": "what happened to alerts, one row a change of state",
    "audit_1m": "rows by stage and minute of arrival: must agree; sum the rows",
    "rollup_cut": "which ranges of the bus each rollup has; for people",
    "bus_skipped": "messages of the bus that were not inserted, and why; for people",
    "bus_stream": "where offsets of each making of flows.enriched begin",
    "rollup_plan": "ranges of the bus about to go into rollups",
    "rollup_start": "from which offset on a rollup has every range",
    "rollup_hold": "while one lasts, no range goes into the rollups",
    "schema_version": "migrations that were applied",
    "setting": "settings that shaped the store",
    "network_name": "sets of networks.csv; the newest is in force",
    "v_flow": "raw flows; older form of v_flows",
    "v_flows": "raw flows as people write them",
    "v_bucket_1m": "older form of v_buckets",
    "v_buckets": "bucket_1m, summed",
    "v_buckets_5m": "bucket_5m, summed",
    "v_buckets_1h": "bucket_1h, summed",
    "v_buckets_end": "bucket_end_5m, summed",
    "v_ports": "port_1h, summed",
    "v_ports_1d": "port_1d, summed",
    "v_subscribers": "subscriber_1d, summed",
    "v_interfaces": "interface_1m, summed, with the names that exporters told",
    "v_exporters": "exporter_1m, summed",
    "v_talkers": "talker_5m, summed",
    "v_as": "as_5m, summed, with names of networks.csv beside it: network_of_as(src_as)",
    "v_groups_1d": "subscriber_1d by group, without groups of few subscribers",
    "v_accounting": "accounting_1d, the sets in force",
    "v_user_day": "octets by user and local day, each from flows or from accounting, never both",
    "v_subscribers_seen": "subscriber_seen_1d, one row a user and day",
    "report_week": "frozen weeks of the report, a row a set; the newest of a week, service and origin is in force",
    "report_week_hour": "frozen weeks: octets by hour; v_report_week_hour has the sets in force",
    "report_week_user": "frozen weeks: volumes of users; v_report_week_user has the sets in force",
    "report_week_port": "frozen weeks: shares of ports; v_report_week_port has the sets in force",
    "v_report_week": "frozen weeks in force",
    "v_report_week_hour": "frozen weeks in force: octets by hour",
    "v_report_week_user": "frozen weeks in force: volumes of users, octets a day",
    "v_report_week_port": "frozen weeks in force: shares of ports, both directions",
    "v_volume_month": "octets by month, each from flows or from accounting, never both",
    "v_quality": "every counter of exporters and stages by minute, summed",
    "v_exporter_name": "names that exporters told, the newest of each",
    "v_network_prefixes": "names of prefixes in force",
    "v_network_as": "names of AS in force",
}  # fmt: skip


def column_comment(table: str, name: str) -> str:
    """The comment of a column; empty: nobody has told it yet, which a test refuses."""
    told = _IN_TABLE.get((table, name))
    if told is None and name in _RAW:
        return _of_raw(_RAW[name])
    told = told or _COLUMNS.get(name)
    if told is None:
        return ""
    text, unit, source = told
    return text + (f" [{unit}]" if unit else "") + f"; {source}"


INTERNAL = frozenset(STEPS)
"""Tables of a range on its way, empty between ranges: they have no comments."""


def tell(store: Store) -> int:
    """Bring the engine's comments to those of the code; how many tables changed.

    StoreUnavailable; what the store refuses is logged and left: a comment is no reason not to start.
    """
    changed = 0
    for statement in missing(store):
        try:
            store.command(statement)
            changed += 1
        except StoreRefused as error:
            log.warning("comments refused", statement=statement[:100], reason=str(error))
    return changed


def missing(store: Store) -> list[str]:
    """Statements that bring the comments of the tables there are to those of the code; empty: nothing to do."""
    tables = {
        row["name"]: row["comment"]
        for row in store.query(
            "SELECT toString(name) AS name, comment FROM system.tables"
            " WHERE database = currentDatabase() AND engine <> 'Dictionary'"
        ).to_pylist()
    }
    columns = store.query(
        "SELECT toString(table) AS table, toString(name) AS name, comment FROM system.columns"
        " WHERE database = currentDatabase() ORDER BY table, position"
    ).to_pylist()
    changes: dict[str, list[str]] = {}
    for row in columns:
        wanted = column_comment(row["table"], row["name"])
        if row["table"] in TABLES and wanted and row["comment"] != wanted:
            changes.setdefault(row["table"], []).append(f"COMMENT COLUMN {quoted(row['name'])} {literal(wanted)}")
    for table, said in tables.items():
        if table in TABLES and said != TABLES[table]:
            changes.setdefault(table, []).append(f"MODIFY COMMENT {literal(TABLES[table])}")
    return [f"ALTER TABLE {table} {', '.join(parts)}" for table, parts in sorted(changes.items())]


_RAW: Mapping[str, Column] = {column.name: column for column in FLOW}


def _of_raw(column: Column) -> str:
    source = f"IPFIX {column.element} {_ELEMENTS[column.element]}" if column.element else _OURS[column.name]
    unit = _UNITS.get(column.name)
    return column.doc + (f" [{unit}]" if unit else "") + f"; {source}"

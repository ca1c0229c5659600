"""The rules R0 to R10: what each says, of which service or exporter, and how severe it is.

Q1 is UDP 443 over everything, Q2 UDP 443 over TCP and UDP 443; both are upper bounds of QUIC.
"""

from dashboards.alerts.model import Group, Number, Rule, Severity

FRESHNESS = Group("flowtide freshness", "1m")
SHARES = Group("flowtide", "5m")
DAILY = Group("flowtide daily", "1h")
GROUPS = (FRESHNESS, SHARES, DAILY)

REMOVED: tuple[str, ...] = ()
"""uids of rules that were once shipped: Grafana keeps a rule that is gone from the file until it is told."""

_AGE = {"N": Number("age")}

R0_WARN = Rule(
    "flowtide-r0-warn", "R0", "R0 No new flows for 3 minutes", "warn", FRESHNESS.name, "r0",
    "age > greatest(180, usual)", ("service",),
    summary="{{ $labels.service }}: no new flows for {{ humanize $values.N.Value }} s",
    description="The newest flows of {{ $labels.service }} ended {{ humanize $values.N.Value }} s ago. While this"
    " lasts, rules on shares and exporters say nothing of the service.",
    meaning="No flow of the service reached the store for more than three minutes. All services at once: a stage of"
    " ours stands still. One service: its exporters, or what tells its subscribers.",
    first="Trust, the panel Lag of each stage: the first stage that is much older than the one before it.",
    then="`flowtide doctor`, then the section of that stage in deploy/README.md. What the collector took is on the bus"
    " and comes in later; what exporters send while the collector is down is lost.",
    silent="A service that pauses by itself is late only after three times its longest usual pause.",
    numbers=_AGE, panel=("noc", 1),
)  # fmt: skip
R0_PAGE = Rule(
    "flowtide-r0-page", "R0", "R0 No new flows for 10 minutes", "page", FRESHNESS.name, "r0",
    "age > greatest(300, usual)", ("service",),
    summary="{{ $labels.service }}: no new flows for {{ humanize $values.N.Value }} s",
    description="The newest flows of {{ $labels.service }} ended {{ humanize $values.N.Value }} s ago. Nothing that"
    " the panels show of it is true any more.",
    meaning="As R0 above, for more than ten minutes; also when the store has had no flow at all for a day.",
    first=R0_WARN.first, then=R0_WARN.then, silent=R0_WARN.silent,
    numbers=_AGE, panel=("noc", 1), no_data="Alerting", wait="5m",
)  # fmt: skip

_CHANGE = {
    "Q": Number("share", file="_week_numbers"), "P": Number("share_before", file="_week_numbers"),
    "N": Number("n", file="_week_numbers"), "E": Number("400 * sqrt(share * (1 - share) / n)", file="_week_numbers"),
    "T": Number("threshold * 100", file="_week_numbers"),
    "U": Number("quic_now[base] / greatest(quic_then[base], 1)", file="_week_numbers"),
    "W": Number("tcp_now[base] / greatest(tcp_then[base], 1)", file="_week_numbers"),
}  # fmt: skip
_MOVED = (
    "{{ $labels.service }} {{ $labels.exporter }}: Q2 of the last 60 minutes is"
    " {{ humanizePercentage $values.Q.Value }}, a week before {{ humanizePercentage $values.P.Value }}. Octets against"
    ' then: UDP 443 x{{ printf "%.2f" $values.U.Value }}, TCP 443 x{{ printf "%.2f" $values.W.Value }}.'
    ' Threshold {{ printf "%.1f" $values.T.Value }} points; {{ humanize $values.N.Value }} sampled packets,'
    ' by which the share scatters within {{ printf "%.1f" $values.E.Value }} points (4 sigma).'
)
_SHARE_FIRST = (
    "The two numbers of the message: the one far from x1 moved. Then the panel: a step or a slope, on one exporter or"
    " all. Then Trust: a gap, a new sampling interval or a lack of subscribers looks like a change of the share."
)
_SHARE_SILENT = (
    "Fewer than 10,000 sampled packets in one of the two hours, or octets under 1 % of the median hour (R5); no whole"
    " hour a week or two before, or a listed holiday then (R7); no new flows (R0); more than 5 % not decoded (R9). An"
    " exporter that was silent in one of the two hours is left out of both (R6). Two weeks ago as now: what differs is"
    " last week, and nothing is said of that a second time."
)
R1 = Rule(
    "flowtide-r1", "R1", "R1 QUIC share of port 443 (Q2) jumped", "warn", SHARES.name, "r1", "jump",
    ("service", "exporter"),
    summary="{{ $labels.service }} {{ $labels.exporter }}: QUIC share (Q2) rose from"
    " {{ humanizePercentage $values.P.Value }} to {{ humanizePercentage $values.Q.Value }} in a week",
    description=_MOVED,
    meaning="For 15 minutes, the share of an hour is above that of the same hour a week before, by 5 points or four"
    " times what this hour differs by from week to week. Clears below 0.6 of that for 30 minutes.",
    first=_SHARE_FIRST,
    then="UDP rose: a large application or operating system switched to QUIC, or UDP 443 is flooded (look at the"
    " largest talkers). TCP fell: TCP 443 is filtered or a large source is away; ask the transport and peering teams.",
    silent=_SHARE_SILENT, numbers=_CHANGE, definition="Q2", panel=("noc", 10), ranged=True,
)  # fmt: skip
R2 = Rule(
    "flowtide-r2", "R2", "R2 QUIC share of port 443 (Q2) dropped", "warn", SHARES.name, "r2", "drop",
    ("service", "exporter"),
    summary="{{ $labels.service }} {{ $labels.exporter }}: QUIC share (Q2) fell from"
    " {{ humanizePercentage $values.P.Value }} to {{ humanizePercentage $values.Q.Value }} in a week",
    description=_MOVED,
    meaning="As R1, the other way: an operator or operating system turned QUIC off, a rate limit on UDP, a fault of a"
    " filter on UDP 443.",
    first=_SHARE_FIRST,
    then="UDP fell: try QUIC from a subscriber's line (curl --http3), look for new filters and rate limits on UDP at"
    " the edges; on one exporter: what changed there. TCP rose: a large download over TCP, QUIC is as before.",
    silent=_SHARE_SILENT, numbers=_CHANGE, definition="Q2", panel=("noc", 10), ranged=True,
)  # fmt: skip
R3 = Rule(
    "flowtide-r3", "R3", "R3 QUIC share of all (Q1) outside its band", "warn", SHARES.name, "r3", "outside",
    ("service", "exporter"),
    summary="{{ $labels.service }} {{ $labels.exporter }}: QUIC share of all (Q1)"
    " {{ humanizePercentage $values.Q.Value }} is outside {{ humanizePercentage $values.L.Value }} to"
    " {{ humanizePercentage $values.H.Value }}",
    description="{{ $labels.service }} {{ $labels.exporter }}: Q1 of the last 60 minutes is"
    " {{ humanizePercentage $values.Q.Value }}, its band {{ humanizePercentage $values.L.Value }} to"
    " {{ humanizePercentage $values.H.Value }}; {{ humanize $values.N.Value }} sampled packets, by which the share"
    ' scatters within {{ printf "%.1f" $values.E.Value }} points (4 sigma).',
    meaning="For 30 minutes, the share of an hour lies outside the median of the same hour of the last 28 days, 8"
    " points either way. Until there are 28 days: outside the band that is set (alerts.bands), as shipped the"
    " published shares of 2024. Clears inside for 30 minutes.",
    first="Whether R1 or R2 fire, too: then as there. Alone: a slow change, or much traffic of other ports (Ports).",
    then="A band that was set and is wrong: set it anew. Else as for R1 and R2.",
    silent="As R1 and R2, without a baseline; a service without a band until there are 28 days.",
    numbers={
        "Q": Number("share", file="_band_numbers"), "L": Number("low", file="_band_numbers"),
        "H": Number("high", file="_band_numbers"), "N": Number("n", file="_band_numbers"),
        "E": Number("400 * sqrt(share * (1 - share) / n)", file="_band_numbers"),
    },
    definition="Q1", panel=("noc", 9), ranged=True,
)  # fmt: skip
R4 = Rule(
    "flowtide-r4", "R4", "R4 QUIC share of all (Q1) drifts", "notice", DAILY.name, "r4",
    "abs(share - share_before) >= 0.02", ("service",),
    summary="{{ $labels.service }}: QUIC share of all (Q1) went from {{ humanizePercentage $values.P.Value }} to"
    " {{ humanizePercentage $values.Q.Value }} in a week",
    description="{{ $labels.service }}: Q1 of the last 7 full days is {{ humanizePercentage $values.Q.Value }}, of the"
    " 7 before {{ humanizePercentage $values.P.Value }}.",
    meaning="Two weeks of full days differ by 2 points or more. Judged anew at local midnight.",
    first="NOC live over 14 days: since when, and in which service.",
    then="Nothing at once: note it for capacity, and for the weekly report.",
    silent="Days that lack data or are listed holidays are left out with their day of the other week; fewer than five"
    " pairs of days, or 10,000 sampled packets, are no judgement; R0 and R9 as for R1.",
    numbers={"Q": Number("share"), "P": Number("share_before")}, definition="Q1", panel=("noc", 9),
)  # fmt: skip
R5 = Rule(
    "flowtide-r5", "R5", "R5 Too little data to judge the QUIC share (Q2)", "info", SHARES.name, "r5",
    "n < 10000 AND n_before >= 10000 OR octets * 100 < usual", ("service",),
    summary="{{ $labels.service }}: {{ humanize $values.N.Value }} sampled packets in an hour are too few to judge",
    description="{{ $labels.service }}: {{ humanize $values.N.Value }} sampled packets of port 443 in the last 60"
    " minutes, {{ humanize $values.P.Value }} a week before; R1 and R2 want 10,000 in both.",
    meaning="The hour compared with had enough sampled packets, this one has not: R1 and R2 say nothing of it.",
    first="NOC live, download by bucket: whether traffic fell; Trust, sampling interval: whether less is sampled.",
    then="Traffic fell: look for what is away. Sampling is coarser: sample more, or accept that rules are silent.",
    silent="A service that is as small in the hour compared with.",
    numbers={"N": Number("n", short=False), "P": Number("n_before", short=False)},
    definition="Q2", panel=("noc", 10), wait="30m", ranged=True,
)  # fmt: skip
R6_SILENT = Rule(
    "flowtide-r6-silent", "R6", "R6 Exporter silent", "page", SHARES.name, "r6_silent", "newest < last_end",
    ("exporter",),
    summary="{{ $labels.exporter }} has sent nothing for {{ humanize $values.N.Value }} minutes",
    description="No record of {{ $labels.exporter }} in the last closed five minutes, {{ humanize $values.N.Value }}"
    " minutes in all; others send. Shares are judged without it, volumes lack it.",
    meaning="An exporter of the last day that sends in every five minutes sent nothing in the last closed ones.",
    first="Whether the device is reachable, then its export configuration and the path to the collector's port.",
    then="Mend export or path. Taken out of service: add a silence for a day, after which it is forgotten.",
    silent="All exporters silent (R0 tells); one that pauses often, or sends fewer than five records in five minutes.",
    numbers={"N": Number("(last_end - newest) / 60")}, panel=("noc", 16),
)  # fmt: skip
R6_LOW = Rule(
    "flowtide-r6-low", "R6", "R6 Exporter sends far less than last week", "warn", SHARES.name, "r6_low",
    "arrayMin(now_) > 0 AND arrayAll((x, y) -> x * 5 < y, now_, then_)", ("exporter",),
    summary="{{ $labels.exporter }} sends {{ humanizePercentage $values.Q.Value }} of last week's records",
    description="{{ $labels.exporter }} sent {{ humanize $values.N.Value }} records in the last closed five minutes,"
    " {{ humanizePercentage $values.Q.Value }} of the same time last week.",
    meaning="For three closed buckets of five minutes, under a fifth of the records of the same time last week.",
    first="Trust: messages missed and sampling interval of the exporter; then its interfaces' counters.",
    then="Records lost on the way: the path, the kernel. Sampled less: R10 tells. Less traffic: look for an outage.",
    silent="Under 100 records in five minutes last week; a listed holiday last week; nothing at all (R6 above).",
    numbers={"N": Number("now_[1]"), "Q": Number("now_[1] / then_[1]")}, panel=("noc", 16),
)  # fmt: skip
R7 = Rule(
    "flowtide-r7", "R7", "R7 No baseline for the QUIC share (Q2)", "info", SHARES.name, "r7", "base = 0 AND old",
    ("service",),
    summary="{{ $labels.service }}: no hour one or two weeks ago to compare the QUIC share with",
    description="{{ $labels.service }}: {{ humanize $values.N.Value }} sampled packets in the last 60 minutes, but the"
    " same hour one and two weeks ago lacks data, or is a listed holiday. R1 and R2 say nothing.",
    meaning="A service known for more than two weeks has no whole hour to be compared with.",
    first="NOC live over 15 days: the gaps.",
    then="Nothing: it ends when the gap is two weeks old. A gap that should not be there: flowtide rebuild.",
    silent="A service that is new, or has too little data now.",
    numbers={"N": Number("n", short=False)}, definition="Q2", panel=("noc", 10), wait="30m", ranged=True,
)  # fmt: skip


def _decoding(severity: Severity, percent: int, meaning: str) -> Rule:
    return Rule(
        f"flowtide-r9-{severity}", "R9", f"R9 More than {percent} % not decoded in full", severity, SHARES.name, "r9",
        f"least > {percent / 100} AND bad >= 20", ("exporter", "kind"),
        summary="{{ $labels.exporter }}, {{ $labels.kind }}: {{ humanizePercentage $values.Q.Value }} not decoded in"
        " full",
        description="{{ $labels.exporter }}: {{ humanizePercentage $values.Q.Value }} of"
        " {{ humanize $values.N.Value }} in the last closed five minutes, by {{ $labels.kind }} (template: sets without"
        " one; sampling: records without a sampling interval; subscriber: more records without one than usual;"
        " sequence: missed by sequence numbers).",
        meaning=meaning,
        first="Trust, the row of the exporter. Template: when it last sent one. Sampling: what tells its interval."
        " Subscriber: flowtide leases status. Sequence: whether all exporters miss (our kernel) or one (its path).",
        then="Template: let the device send templates every minute or more. Sampling: let it send options data, or set"
        " collector.decoder.sampling. Subscriber: mend the source of leases. Sequence: raise net.core.rmem_max, or mend"
        " the path.",
        silent="Fewer than 200 records (sets), or 20 bad ones, in five minutes; a share of records without subscriber"
        " that is usual there.",
        numbers={"Q": Number("share"), "N": Number("whole")}, panel=("trust", 7),
    )  # fmt: skip


R9_WARN = _decoding("warn", 1, "In two closed buckets of five minutes, so much of an exporter's data cannot be used.")
R9_PAGE = _decoding(
    "page", 5, "As above, by more; while it lasts, R1 to R4 say nothing of services of which it carries a twentieth."
)
R10 = Rule(
    "flowtide-r10", "R10", "R10 Sampling interval changed", "notice", SHARES.name, "r10",
    "if(empty(then_), length(now_) > 1, NOT hasAll(then_, now_))", ("exporter",),
    summary="{{ $labels.exporter }} samples 1 in {{ humanize $values.N.Value }}, another interval than yesterday",
    description="{{ $labels.exporter }}: a sampling interval of the last 60 minutes (the largest is"
    " {{ humanize $values.N.Value }}) was not seen on the day before. Sums are right on, with another error.",
    meaning="The device was changed, or what tells its interval. It is told for a day.",
    first="Trust, sampling interval by exporter: when; and whether the exporter's octets made a step then.",
    then="Octets made a step of the same factor: the interval that is told is not the one in force; set"
    " collector.decoder.sampling. No step: nothing.",
    silent="An exporter that has had both intervals before.",
    numbers={"N": Number("arrayMax(now_)")}, panel=("trust", 15),
)  # fmt: skip

RULES: tuple[Rule, ...] = (R0_WARN, R0_PAGE, R1, R2, R3, R4, R5, R6_SILENT, R6_LOW, R7, R9_WARN, R9_PAGE, R10)
"""In the order of the file."""
BY_UID = {rule.uid: rule for rule in RULES}

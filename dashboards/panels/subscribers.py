"""Subscribers: how much one uses a day, how unequally, and who uses most."""

from dashboards.panels.model import Dashboard, Override, Row, Stat, Table, Target, Variable
from dashboards.panels.users import BY_DIRECTION, IS_ACCOUNTED, NEWEST, USERS, WITH, WITHIN
from dashboards.panels.xy import XY, Axis

_SERVICE = Variable("service", "Service", values=(("fixed", "fixed"), ("mobile", "mobile")), current="fixed")
_SEGMENT = Variable(
    "segment", "Segment", current="personal",
    values=(("personal", "personal"), ("enterprise", "enterprise"), ("unknown", "unknown")),
)  # fmt: skip
_ACCESS = Variable(
    "access", "Access", several=True,
    values=(("pppoe", "PPPoE"), ("ipoe", "IPoE"), ("mobile", "mobile"), ("other", "other")),
)  # fmt: skip
_DIRECTION = Variable(
    "direction", "Order of the top", values=(("2", "out (download)"), ("1", "in (upload)")), current="2"
)
_TOP = Variable("top", "Top", values=(("10", "10"), ("20", "20"), ("50", "50"), ("100", "100")), current="20")
_SAMPLE = 5_000
_DAY = "octets a day"
_SAID = (
    "A user is a subscription on one access; octets a day are over the days of the range that have data, and of one"
    " source: accounting or flows (see Sources of volume)."
)

# Shares as the report has them: of round(0.1 N) users, each direction sorted by its own octets.
_STATISTICS = f"""
{WITH}
SELECT
    direction, users, leased, recorded, silent, mean, median, mode,
    arraySum(arraySlice(heaviest, 1, toUInt64(round(users * 0.1)))) / nullIf(arraySum(heaviest), 0) AS `top 10 %`,
    arraySum(arraySlice(heaviest, 1, toUInt64(round(users * 0.01)))) / nullIf(arraySum(heaviest), 0) AS `top 1 %`
FROM
(
    SELECT
        if(way = 1, 'in (upload)', 'out (download)') AS direction,
        count() AS users, countIf(has_lease) AS leased, countIf(has_record) AS recorded,
        countIf(a_day = 0) AS silent, avg(a_day) AS mean, quantileExactInclusive(0.5)(a_day) AS median,
        mode_of(log_histogram_of(a_day)) AS mode, arrayReverseSort(groupArray(a_day)) AS heaviest
    FROM ({BY_DIRECTION})
    GROUP BY way
)
ORDER BY direction
"""


def _figures(way: int) -> str:
    return f"""
{WITH}
SELECT avg(a_day) AS mean, quantileExactInclusive(0.5)(a_day) AS median, mode_of(log_histogram_of(a_day)) AS mode
FROM ({BY_DIRECTION}) WHERE way = {way} HAVING count() > 0
"""


_DISTRIBUTION = f"""
{WITH}
SELECT exp10(bin / 10) AS `{_DAY}`, users_in / nullIf(sum(users_in) OVER (), 0) AS `IN`,
    users_out / nullIf(sum(users_out) OVER (), 0) AS `OUT`
FROM
(
    SELECT toInt16(round(10 * log10(greatest(a_day, 1)))) AS bin, countIf(way = 1) AS users_in,
        countIf(way = 2) AS users_out
    FROM ({BY_DIRECTION}) WHERE a_day > 0 GROUP BY bin ORDER BY bin WITH FILL
)
ORDER BY bin
"""
# Users without octets are in the whole, and in no point.
_CCDF = f"""
{WITH}
SELECT exp10(bin / 10) AS `{_DAY}`, nullIf(users_in, 0) / whole AS `IN`, nullIf(users_out, 0) / whole AS `OUT`
FROM
(
    SELECT bin, sum(n_in) OVER upwards AS users_in, sum(n_out) OVER upwards AS users_out, sum(n_in) OVER () AS whole
    FROM
    (
        SELECT if(a_day = 0, -1000, toInt16(floor(10 * log10(a_day)))) AS bin, countIf(way = 1) AS n_in,
            countIf(way = 2) AS n_out
        FROM ({BY_DIRECTION}) GROUP BY bin
    )
    WINDOW upwards AS (ORDER BY bin DESC ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
)
WHERE bin > -1000
ORDER BY bin
"""
_SCATTER = f"""
{WITH}
SELECT octets_out / day_count AS `OUT`, octets_in / day_count AS `IN`
FROM ({USERS}) AS r WHERE octets_out > 0 AND octets_in > 0 ORDER BY cityHash64(user, access) LIMIT {_SAMPLE}
"""
_POINTS = "[0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]"
_CONCENTRATION = f"""
{WITH}
SELECT part AS `share of users`, sums_in[first] / nullIf(sums_in[-1], 0) AS `IN`,
    sums_out[first] / nullIf(sums_out[-1], 0) AS `OUT`
FROM
(
    SELECT arrayCumSum(arrayReverseSort(groupArray(octets_in))) AS sums_in,
        arrayCumSum(arrayReverseSort(groupArray(octets_out))) AS sums_out, count() AS users
    FROM ({USERS}) HAVING users > 0
)
ARRAY JOIN {_POINTS} AS part, arrayMap(each -> toUInt64(round(users * each)), {_POINTS}) AS first
WHERE first > 0
ORDER BY part
"""
_HEAVIEST = f"""
{WITH}
SELECT toString(user) AS subscriber, access, octets_out / day_count AS `out`, octets_in / day_count AS `in`,
    rank_by / nullIf(sum(rank_by) OVER (), 0) AS `of all`, if(has_lease, 'yes', 'no') AS leased
FROM (SELECT *, if(${{direction}} = 1, octets_in, octets_out) AS rank_by FROM ({USERS}))
WHERE has_record
ORDER BY rank_by DESC, user, access
LIMIT ${{top}}
"""


_SOURCES = f"""
{WITH}
SELECT
    u.access AS access, u.told AS `told by`, if({IS_ACCOUNTED} = (u.told = 'accounting'), 'yes', 'no') AS `in force`,
    uniqExact(u.day) AS days, uniqExact(u.user) AS users, sum(u.octets_out) AS `out`, sum(u.octets_in) AS `in`
FROM
(
    SELECT u.access AS access, u.day AS day, u.sub_id AS user, 'netflow' AS told,
        (u.direction = 1) * u.octets_est AS octets_in, (u.direction = 2) * u.octets_est AS octets_out
    FROM subscriber_1d AS u WHERE {WITHIN}
    UNION ALL
    SELECT u.access, u.day, u.sub_id, 'accounting', u.in_octets, u.out_octets
    FROM accounting_1d AS u WHERE {WITHIN} AND {NEWEST}
) AS u
GROUP BY access, `told by`
ORDER BY access, `in force` DESC
"""

_VOLUME = {"unit": "decbytes"}
_SHARE = {"unit": "percentunit", "decimals": 1}
_COUNT = {"unit": "locale"}
_SIZES = tuple(Override("byName", name, _VOLUME) for name in ("mean", "median", "mode", "in", "out"))
_SHARES = tuple(Override("byName", name, _SHARE) for name in ("top 10 %", "top 1 %", "of all"))
_A_DAY = Axis("octets a day", "decbytes", log=True)
_HUES = tuple(
    Override("byName", name, {"color": {"mode": "fixed", "fixedColor": hue}})
    for name, hue in (("IN", "#ff8c1a"), ("OUT", "#3274d9"))
)


def _stat(number: int, way: int, word: str) -> Stat:
    return Stat(
        number, f"{word} a day: mean, median, mode", "Of all users of the range, those without octets included; the"
        f" mode is the peak of the distribution on a grid of twentieths of a decade. {_SAID}", 12, 4,
        targets=(Target(_figures(way), series=False),), unit="decbytes",
    )  # fmt: skip


SUBSCRIBERS = Dashboard(
    "subscribers", "Subscribers", "How much one uses a day, how unequally, and who uses most; subscribers as"
    " pseudonyms. Its tables are of single subscribers: on a server the account that asks needs the role engineer,"
    " which Grafana's and the console's do not have as shipped (GRANT engineer TO grafana; who can see a dashboard can"
    " ask its data source anything).",
    since="now-7d", refresh="", variables=(_SERVICE, _SEGMENT, _ACCESS, _DIRECTION, _TOP),
    tags=("flowtide", "engineer"),
    lines=(
        (_stat(1, 2, "OUT (download)"), _stat(2, 1, "IN (upload)")),
        (
            Table(3, "Users", "Who had a lease or a record in the range, by direction. Silent: without octets, in the"
                  " mean and the median and not in the distribution. Fewer recorded than users: leased and never seen,"
                  " because they were away, or packets are sampled. Fewer leased: lease sources were not read on"
                  f" all days. Top 10 % and 1 %: their part of all octets. {_SAID}", 14, 5,
                  targets=(Target(_STATISTICS, series=False),), unit="locale", overrides=(*_SIZES, *_SHARES)),
            Table(4, "Sources of volume", "By access: what flows and accounting tell, and which of them is in force for"
                  " every other panel here (store.volume_sources; accounting for mobile and IPoE unless set). Never"
                  " both: the other one is not added. Days fewer than the range has: an import is missing.", 10, 5,
                  targets=(Target(_SOURCES, series=False),), unit="locale", overrides=_SIZES),
        ),
        (
            XY(5, "Distribution", f"Part of the users by octets a day, in bins of a tenth of a decade; users without"
               f" octets are left out. {_SAID}", 12, 12, targets=(Target(_DISTRIBUTION, series=False),),
               unit="percentunit", low=0, x=_DAY, across=_A_DAY, up=Axis("users"), overrides=_HUES),
            XY(6, "Users who use at least so much", "Part of all users, those without octets included: both scales are"
               f" logarithmic. {_SAID}", 12, 12, targets=(Target(_CCDF, series=False),), unit="percentunit", x=_DAY,
               across=_A_DAY, up=Axis("users", log=True), overrides=_HUES),
        ),
        (
            XY(7, "IN and OUT of a user", f"Octets a day of at most {_SAMPLE:,} users, the same ones each time, who"
               f" have both. Far above the others: servers, or uploads that should not be. {_SAID}", 12, 12,
               targets=(Target(_SCATTER, series=False),), unit="decbytes", x="OUT", points=4,
               across=Axis("OUT, octets a day", "decbytes", log=True), up=Axis("IN, octets a day", log=True),
               overrides=_HUES),
            XY(8, "Concentration", "Part of all octets that the heaviest users have, each direction sorted by its own."
               f" {_SAID}", 12, 12, targets=(Target(_CONCENTRATION, series=False),), unit="percentunit", low=0, high=1,
               x="share of users", across=Axis("heaviest users", "percentunit"), up=Axis("octets"), overrides=_HUES),
        ),
        (Row(20, "Heaviest"),),
        (
            Table(9, "Top ${top} subscribers", "By octets a day in the chosen direction; of all: their part of that"
                  " direction's octets. The number is a pseudonym: who may read subscriber_name finds whose it is."
                  f" {_SAID}", 24, 14, targets=(Target(_HEAVIEST, series=False),), overrides=(*_SIZES, *_SHARES)),
        ),
    ),
)  # fmt: skip

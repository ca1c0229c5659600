"""The SQL of Years: frozen weeks that were chosen, what was measured in them, and the months behind them."""

from dashboards.panels.sql import chosen

SLOTS = 4
"""Weeks drawn at once: the newest of those chosen; the table Weeks numbers them."""
_KEY = "concat(toString(w.monday), '/', w.origin)"
_CHOSEN = f"w.service = ${{service:singlequote}} AND {chosen('weeks', _KEY)}"
# Numbered from the newest; an own week before a published one of the same Monday.
_NUMBERED = f"""
    SELECT w.monday AS monday, w.origin AS origin, w.label AS label, w.method AS method, w.sampling AS sampling,
        w.hours AS hours, w.missing_hours AS missing_hours, w.octets AS octets, w.unmatched_octets AS unmatched_octets,
        w.made AS made, w.facts AS facts, concat(w.origin, '/', w.method) AS kind,
        row_number() OVER (ORDER BY w.monday DESC, w.origin = 'own' DESC, w.origin) AS number
    FROM v_report_week AS w WHERE {_CHOSEN}"""
_NAME = "if(origin = 'own', toString(monday), concat(label, ' ', upper(toString(origin)))) AS week"
# Of the header's facts: hours in which an exporter was silent, by exporter, and days that accounting lacks, by access.
_LACKS = """arrayStringConcat(arrayFilter(word -> word <> '', [
        if(empty(missing_hours), '', concat(toString(length(missing_hours)), ' h without a flow')),
        if(JSONLength(facts, 'silent') = 0, '', concat(toString(JSONLength(facts, 'silent')), ' exporters silent')),
        arrayStringConcat(arrayMap(found -> concat('no ', found.1), arrayFilter(found -> found.2 <> '[]',
            JSONExtractKeysAndValuesRaw(facts, 'missing_days'))), ', ')]), ', ')"""
_COMPLETE = f"if(hours = 0, 'published', if({_LACKS} = '', 'yes', concat('no: ', {_LACKS}))) AS complete"
_POPULATION = "concat('personal ', ${service:singlequote}) AS population"

LIST = f"""
SELECT number, {_NAME}, monday, method, {_POPULATION}, users, sampling, {_COMPLETE},
    if(hours = 0, NULL, unmatched_octets / nullIf(octets, 0)) AS unmatched, made AS frozen
FROM ({_NUMBERED}) AS w
LEFT JOIN
(
    SELECT u.monday AS of, u.origin AS by, nullIf(max(greatest(u.seen, u.users)), 0) AS users
    FROM v_report_week_user AS u WHERE u.service = ${{service:singlequote}} GROUP BY of, by
) AS u ON u.of = w.monday AND u.by = w.origin
ORDER BY number
"""


def _of(way: str, *names: str) -> str:
    return ", ".join(f"anyIf(u.{name}, u.direction = '{way}') AS {name}_{way}" for name in names)


# The week before: the next older of the same origin and method, or none.
_BEFORE = "PARTITION BY origin, method ORDER BY monday ROWS BETWEEN 1 PRECEDING AND 1 PRECEDING"
USAGE = f"""
SELECT
    {_NAME}, method, mean_in, median_in, mode_in, mode_in / any(mode_in) OVER before AS growth_in,
    mean_out, median_out, mode_out, mode_out / any(mode_out) OVER before AS growth_out,
    users, {_COMPLETE}, if(any(kind) OVER older NOT IN ('', kind), 'break', '') AS break
FROM ({_NUMBERED}) AS w
INNER JOIN
(
    SELECT u.monday AS of, u.origin AS by, nullIf(max(greatest(u.seen, u.users)), 0) AS users,
        {_of("in", "mean", "median", "mode")},
        {_of("out", "mean", "median", "mode")}
    FROM v_report_week_user AS u WHERE u.service = ${{service:singlequote}} GROUP BY of, by
) AS u ON u.of = w.monday AND u.by = w.origin
WINDOW before AS ({_BEFORE}), older AS (ORDER BY number ROWS BETWEEN 1 FOLLOWING AND 1 FOLLOWING)
ORDER BY number
"""

CONCENTRATION = f"""
SELECT {_NAME}, method, top10_in, top1_in, top10_out, top1_out, users
FROM ({_NUMBERED}) AS w
INNER JOIN
(
    SELECT u.monday AS of, u.origin AS by, nullIf(max(greatest(u.seen, u.users)), 0) AS users,
        {_of("in", "top10", "top1")},
        {_of("out", "top10", "top1")}
    FROM v_report_week_user AS u WHERE u.service = ${{service:singlequote}} GROUP BY of, by
    HAVING isNotNull(top10_in) OR isNotNull(top10_out)
) AS u ON u.of = w.monday AND u.by = w.origin
ORDER BY number
"""


def over_years(way: str) -> str:
    """Mean, median and mode of each chosen week; ``way`` in or out."""
    return f"""
SELECT
    toYear(w.monday) + (toDayOfYear(w.monday) - 1) / 365.25 AS `year`,
    u.mean AS mean, u.median AS median, u.mode AS mode, {_NAME}, method
FROM ({_NUMBERED}) AS w
INNER JOIN v_report_week_user AS u ON u.monday = w.monday AND u.origin = w.origin
WHERE u.service = ${{service:singlequote}} AND u.direction = '{way}'
ORDER BY `year`
"""


def _slots(value: str, condition: str, word: str) -> str:
    """A column a week."""
    return ",\n    ".join(
        f"{value.format(condition=f'number = {slot}{condition}')} AS `{slot}{word}`" for slot in range(1, SLOTS + 1)
    )


def distribution(way: str) -> str:
    """Parts of the users of the first weeks by octets a day; ``way`` in or out."""
    return f"""
SELECT exp10(bin / 10) AS `octets a day`,
    {_slots("nullIf(sumIf(part, {condition}), 0)", "", "")}
FROM
(
    SELECT w.number AS number, arrayJoin(arrayZip(u.bins, u.numbers)) AS each, each.1 AS bin,
        each.2 / arraySum(u.numbers) AS part
    FROM ({_NUMBERED}) AS w
    INNER JOIN v_report_week_user AS u ON u.monday = w.monday AND u.origin = w.origin
    WHERE u.service = ${{service:singlequote}} AND u.direction = '{way}' AND w.number <= {SLOTS}
)
GROUP BY bin
ORDER BY bin
"""


# Hours of the week are counted from Monday: 120 are Monday to Friday, whatever Sunday's clock does.
HOURS = f"""
SELECT toFloat64(h.hour % 24) AS `hour`,
    {_slots("sumIfOrNull(h.octets, {condition}) * 8 / 3600 / 5", " AND h.direction = 'in'", " IN")},
    {_slots("sumIfOrNull(h.octets, {condition}) * 8 / 3600 / 5", " AND h.direction = 'out'", " OUT")}
FROM v_report_week_hour AS h
INNER JOIN ({_NUMBERED}) AS w ON w.monday = h.monday AND w.origin = h.origin
WHERE h.service = ${{service:singlequote}} AND h.kind = 'volume' AND h.hour < 120 AND w.number <= {SLOTS}
GROUP BY `hour`
ORDER BY `hour`
"""

_PORT_COLUMNS = ",\n    ".join(
    f"maxIfOrNull(share, number = {slot}) AS `{slot}`, maxIfOrNull(change, number = {slot}) AS `{slot} change`"
    for slot in range(1, SLOTS + 1)
)
PORTS = f"""
SELECT
    port,
    {_PORT_COLUMNS},
    any(breaks) AS break
FROM
(
    SELECT number, port, place, share, breaks,
        100 * (share - any(share) OVER (PARTITION BY kind, port, place ORDER BY monday
            ROWS BETWEEN 1 PRECEDING AND 1 PRECEDING)) AS change
    FROM
    (
        SELECT w.number AS number, w.monday AS monday, if(w.origin = 'own', w.kind, w.origin) AS kind, p.port AS port,
            (p.proto = 0, transform(p.proto, [6, 17], [1, 2], 3), p.proto) AS place, toNullable(sum(p.share)) AS share
        FROM v_report_week_port AS p
        INNER JOIN ({_NUMBERED}) AS w ON w.monday = p.monday AND w.origin = p.origin
        WHERE p.service = ${{service:singlequote}} AND p.access = if(p.service = 'fixed', 'pppoe', 'mobile')
        GROUP BY number, monday, kind, port, place
    ) AS s
    CROSS JOIN
    (
        SELECT arrayStringConcat(arraySort(groupArrayIf(concat(toString(number), '|', toString(number + 1)),
            behind <> '' AND behind <> kind AND number < {SLOTS})), ', ') AS breaks
        FROM
        (
            -- The published years count ports alike, whatever changed for users.
            SELECT number, if(origin = 'own', kind, origin) AS kind,
                any(kind) OVER (ORDER BY number ROWS BETWEEN 1 FOLLOWING AND 1 FOLLOWING) AS behind
            FROM ({_NUMBERED}) AS w
            WHERE (w.monday, w.origin) IN (SELECT p.monday, p.origin FROM v_report_week_port AS p
                WHERE p.service = ${{service:singlequote}})
        )
    ) AS b
)
GROUP BY port, place
HAVING count(share) > 0 AND countIf(number <= {SLOTS}) > 0
ORDER BY place.1 DESC, place.2, place.3, position(port, '/') > 0, max(share) DESC, port
LIMIT 60
"""

MONTHS = """
SELECT
    month, octets_out, octets_in, octets_out / first_value(octets_out) OVER so_far AS level_out,
    octets_in / first_value(octets_out) OVER so_far AS level_in,
    octets_out / any(octets_out) OVER year_ago - 1 AS yoy_out, octets_in / any(octets_in) OVER year_ago - 1 AS yoy_in,
    ipoe_out / nullIf(octets_out, 0) AS ipoe_of_out, ipoe_in / nullIf(octets_in, 0) AS ipoe_of_in, days
FROM
(
    SELECT
        month, toNullable(sumIf(a_day, direction = 'out')) AS octets_out,
        toNullable(sumIf(a_day, direction = 'in')) AS octets_in,
        sumIf(a_day, direction = 'out' AND access = 'ipoe') AS ipoe_out,
        sumIf(a_day, direction = 'in' AND access = 'ipoe') AS ipoe_in, min(told) AS days
    FROM
    (
        SELECT v.month AS month, v.direction AS direction, v.access AS access, max(v.days_told) AS told,
            sum(v.octets) / told AS a_day
        FROM v_volume_month AS v
        WHERE v.service = ${service:singlequote} AND v.month >= toStartOfMonth(toDate($__fromTime))
            AND v.month <= toDate($__toTime)
        GROUP BY month, direction, access
    )
    GROUP BY month
)
WINDOW so_far AS (ORDER BY month ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW),
    year_ago AS (ORDER BY toInt32(toYear(month) * 12 + toMonth(month)) RANGE BETWEEN 12 PRECEDING AND 12 PRECEDING)
"""
LEVELS = f"""
SELECT toYear(month) + (toMonth(month) - 1) / 12 AS `year`, level_out AS `OUT`, level_in AS `IN`
FROM ({MONTHS}) ORDER BY `year`
"""

"""Pieces of the subscribers' SQL: the users of a range of days, and their octets a day.

A user is (sub_id, access), and has one source of volume, as ``v_user_day`` chooses it.  The tables are summed by user
before anything else: a week of a million subscribers is fourteen million rows, and a million users.
"""

from dashboards.panels.sql import ZONE

# Whole local days: from the one that the range begins in up to the one it ends in, which counts only when it is whole.
FIRST = f"toDate($__fromTime, {ZONE})"
UNTIL = f"toDate($__toTime + INTERVAL 1 SECOND, {ZONE})"

# By access, and by few values: to look into the settings for each row took longer than to sum the rows.
_ACCOUNTED = """
    (
        SELECT mapFromArrays(groupArray(scope), groupArray(told)) FROM
        (
            SELECT substring(name, length('volume_source:') + 1) AS scope, argMax(value, made) AS told
            FROM setting WHERE startsWith(name, 'volume_source:') GROUP BY name
        )
        WHERE told <> ''
    ) AS settings,
    arrayFilter(each -> if(mapContains(settings, concat(${service:singlequote}, '/', each)),
        settings[concat(${service:singlequote}, '/', each)] = 'accounting',
        ${service:singlequote} = 'mobile' OR each = 'ipoe'), ['pppoe', 'ipoe', 'mobile', 'other', '']) AS accounted"""
IS_ACCOUNTED = "has(accounted, u.access)"
"""Of a row u: its volume is of accounting, as ``v_user_day`` has it; else of flows."""
NEWEST = "(u.day, u.source, u.made) IN (SELECT day, source, max(made) FROM accounting_import GROUP BY day, source)"
"""Of a row u of accounting_1d: its set is in force."""

WITHIN = (
    f"u.day >= {FIRST} AND u.day < {UNTIL} AND u.service = ${{service:singlequote}}"
    " AND ('*' IN (${access:singlequote}) OR u.access IN (${access:singlequote}))"
    " AND u.segment = ${segment:singlequote}"
)
"""Of a row u of a day: it is in the range and in what was chosen."""

_DAYS = f"""
    greatest(1, assumeNotNull((
        SELECT uniqExact(day) FROM
        (
            SELECT DISTINCT u.day AS day FROM subscriber_1d AS u WHERE {WITHIN} AND NOT {IS_ACCOUNTED}
            UNION ALL
            SELECT DISTINCT u.day AS day FROM accounting_1d AS u WHERE {WITHIN} AND {IS_ACCOUNTED} AND {NEWEST}
        )
    ))) AS day_count"""
WITH = f"WITH{_ACCOUNTED},{_DAYS}"
"""``accounted``, and ``day_count``: how many days have data; a user's mean is over them, seen or not."""

USERS = f"""
    SELECT
        user, access, sum(octets_in) AS octets_in, sum(octets_out) AS octets_out, max(has_record) AS has_record,
        max(has_lease) AS has_lease
    FROM
    (
        SELECT u.sub_id AS user, u.access AS access, sumIf(u.octets_est, u.direction = 1) AS octets_in,
            sumIf(u.octets_est, u.direction = 2) AS octets_out, 1 AS has_record, 0 AS has_lease
        FROM subscriber_1d AS u WHERE {WITHIN} AND NOT {IS_ACCOUNTED} GROUP BY user, access
        UNION ALL
        SELECT u.sub_id AS user, u.access AS access, sum(u.in_octets), sum(u.out_octets), 1, 0
        FROM accounting_1d AS u WHERE {WITHIN} AND {IS_ACCOUNTED} AND {NEWEST} GROUP BY user, access
        UNION ALL
        SELECT u.sub_id AS user, u.access AS access, 0, 0, 0, 1
        FROM subscriber_seen_1d AS u WHERE {WITHIN} GROUP BY user, access
    )
    GROUP BY user, access"""
"""One row a user with a record or a lease in the range."""

BY_DIRECTION = f"""
    SELECT side.1 AS way, side.2 / day_count AS a_day, has_record, has_lease
    FROM ({USERS}) AS r ARRAY JOIN [(1, octets_in), (2, octets_out)] AS side"""
"""Two rows a user: octets a day IN (1) and OUT (2)."""

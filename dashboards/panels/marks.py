"""What is marked in the charts of every dashboard: since when, and until when, an alert fired."""

from dashboards.panels.model import Annotation

_LONGEST_DAYS = 31

ALERTS = Annotation(
    "Alerts",
    f"""
SELECT began AS time, if(over, ended, toDateTime64($__toTime, 3, 'UTC')) AS timeEnd, title,
    concat(summary, if(over, '', ' (still firing)')) AS text, tags
FROM
(
    SELECT
        h.started AS began,
        any(h.title) AS title,
        argMin(h.summary, h.time) AS summary,
        concat(any(h.severity), ',', any(h.rule)) AS tags,
        countIf(h.state = 'resolved') > 0 AS over,
        maxIf(h.time, h.state = 'resolved') AS ended
    FROM alert_history AS h
    WHERE h.time >= $__fromTime - INTERVAL {_LONGEST_DAYS} DAY AND h.time <= $__toTime
        AND h.state IN ('firing', 'resolved') AND h.severity <> 'info'
    GROUP BY h.uid, toString(h.labels), h.started
) AS e
WHERE NOT over OR ended >= $__fromTime
ORDER BY time
LIMIT 500
""",
)
"""Of alert_history, which flowtide alerts run writes; a Grafana that evaluates the rules itself marks by itself."""

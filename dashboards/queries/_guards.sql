-- The closed buckets that are asked for, of which the newest can be judged.
{{_decode}},
{{_blocks}},
newest AS
(
    SELECT *
    FROM states LEFT JOIN (SELECT end, groupArray(exporter) AS names FROM undecoded GROUP BY end) AS u USING (end)
    WHERE end >= first_end AND judged AND (service, end) IN (SELECT service, end FROM fresh)
        -- R5: a hundredth of the median hour of the last 7 days.
        AND arraySum(weights.2) * 100 >= if(empty(octets_of_week), 0,
            arrayReduce('quantileExactInclusive(0.5)', octets_of_week))
        -- R9: exporters that were not decoded carry no twentieth of it.
        AND arraySum(arrayMap(w -> w.2 * has(names, w.1), weights)) * 20 <= arraySum(weights.2)
)

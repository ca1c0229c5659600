-- What the operator set, and the closed buckets that are judged: those whose closing lies in ($__fromTime, $__toTime].
(SELECT argMax(value, made) FROM setting WHERE name = 'timezone') AS zone,
(SELECT toUInt32OrDefault(argMax(value, made), toUInt32(120)) FROM setting WHERE name = 'alerts:grace_seconds') AS grace,
(SELECT splitByRegexp('[, ]+', argMax(value, made)) FROM setting WHERE name = 'alerts:holidays') AS holidays,
intDiv(toUnixTimestamp($__fromTime) - grace, 300) * 300 + 300 AS first_end,
intDiv(toUnixTimestamp($__toTime) - grace, 300) * 300 AS last_end

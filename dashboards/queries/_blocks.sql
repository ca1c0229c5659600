-- Exporters of which more than a twentieth was not decoded (R9): R1 to R4 have no judgement where they matter.
{{_fresh}},
undecoded AS (SELECT DISTINCT exporter, end FROM decoded WHERE share > 0.05 AND bad >= 20)

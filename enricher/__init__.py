"""flows.raw -> subscriber, direction, port bucket, estimates -> flows.enriched.

``enrichment`` is pure: a batch and immutable tables in, an enriched batch out.  ``leases`` knows who held an address
when the flow ended; ``snapshots`` swaps a table only after it was checked as a whole.  ``service`` reads the bus and
publishes, so that log order alone decides what counts.
"""

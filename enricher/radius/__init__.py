"""Subscribers by RADIUS accounting: who held which address when, and how many octets a day.

``packet`` reads and answers requests; ``session`` and ``sessions`` are pure state that records change in any order;
``journal`` has each record on the disk before ``server`` answers it; ``source`` joins them for the enricher.
"""

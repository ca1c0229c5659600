"""A network that does not exist: subscribers, their traffic, and the exporters that report it.

``population`` says who holds which prefix, ``traffic`` draws flows, ``encoder`` writes them as NetFlow v9 or IPFIX, and
``exporters`` sends them in time.  Nothing here is shared with the collector, so that the one can test the other.
"""

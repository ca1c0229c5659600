"""Where leases come from.  ``tables`` reads files; each source ends in ``enricher.leases.LeaseRows``."""

"""Captures with known content: real exporters' against an oracle, and our own beside their expectation."""

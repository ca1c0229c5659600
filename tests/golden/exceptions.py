"""Captures whose rows are not the oracle's, one by one, and why; one that agrees after all fails its test."""

PENDING: dict[str, str] = {}
"""What is not built yet."""

EXCEPTIONS: dict[str, str] = {}
"""What stays: the reason is the captures' README's."""

HELD: dict[str, int] = {"v9_data_before_template": 21, "v9_ak_data_and_templates": 11, "mixed_bitkeks": 8}
"""Flow records that came before their template: goflow2 drops them, we hold and decode them, flagged."""

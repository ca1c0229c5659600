"""What a rule would have said at every closed bucket of a range, by one question instead of one for each.

The rule's own query judges the closed buckets whose closing lies in its time range; a rule asks for the last five
minutes, so for one.  Asked for a longer range, and for the moments beside the labels, the same text gives the same
values, each as it was when its bucket closed.
"""

from dashboards.alerts.model import JUDGEMENT
from dashboards.alerts.rules import BY_UID
from dashboards.macros import Window, expand

BUCKET = 300
"""Seconds between two moments."""


def is_ranged(uid: str) -> bool:
    """Whether ``over`` knows the rule; others are asked moment by moment."""
    return uid in BY_UID and BY_UID[uid].ranged


def over(uid: str, since: float, until: float, ref: str = JUDGEMENT) -> str:
    """SQL for rows of labels, ``time`` (when the bucket closed, in (since, until]) and ``value``; KeyError: unknown."""
    rule = BY_UID[uid]
    if not rule.ranged:
        raise KeyError(f"rule {uid} is judged at one moment only: ask it for each")
    return expand(rule.sql(ref, moments=True), Window(int(since) * 1000, int(until) * 1000, BUCKET * 1000), {})


def at(uid: str, now: float, ref: str = JUDGEMENT) -> str:
    """SQL that the rule asks at a moment: rows of labels and ``value``."""
    rule = BY_UID[uid]
    return expand(rule.sql(ref), Window(int(now - rule.window) * 1000, int(now) * 1000, BUCKET * 1000), {})

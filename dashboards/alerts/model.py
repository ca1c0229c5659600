"""What an alert rule is made of, in Grafana's provisioning form: the keys that 9.4 and 13 both read.

A rule asks the store for rows of labels and one number; no row is no judgement.  What is judged, guarded and remembered
(hysteresis) is in the SQL, so that an evaluator only compares the number with a half.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from dashboards.library import DATA_SOURCE
from dashboards.panels.model import PLUGIN_VERSION

Json = dict[str, Any]
Severity = Literal["page", "warn", "notice", "info"]
NoData = Literal["NoData", "Alerting"]

QUERIES = Path(__file__).parent.parent / "queries"
EXPRESSION = "__expr__"
JUDGEMENT, CONDITION = "A", "C"
"""refId of the rows that are 0 or 1, and of their comparison with a half."""

_COMMENT = re.compile(r"^\s*--.*\n?", re.MULTILINE)
_INDENT = re.compile(r"^ +", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Number:
    """A number of each row, by an expression over the columns of the query; ``short``: it looks at no bucket before."""

    value: str
    short: bool = True
    file: str = ""  # where it is not the rule's own query


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; ``query`` names a file of ``dashboards/queries``, whose last SELECT has ``{columns}``."""

    uid: str
    rule: str  # R0 to R10
    title: str
    severity: Severity
    group: str
    query: str
    judgement: str  # 0 or 1
    labels: tuple[str, ...]  # columns of the query
    summary: str
    description: str
    meaning: str  # for the runbook: what it means
    first: str  # what to look at first
    then: str  # what to do
    silent: str  # what keeps it silent
    numbers: Mapping[str, Number] = field(default_factory=dict)  # by refId, for the annotations
    maths: Mapping[str, str] = field(default_factory=dict)  # by refId, of the numbers
    definition: str = ""  # Q1 or Q2
    panel: tuple[str, int] | None = None  # dashboard and panel that show it
    wait: str = "0s"  # Grafana's ``for``
    no_data: NoData = "NoData"
    window: int = 300  # seconds of the query's time range: the moments that are judged
    ranged: bool = False  # whether the same query judges every closed bucket of a longer range

    def sql(self, ref: str = JUDGEMENT, *, moments: bool = False) -> str:
        """What is asked for a refId; with ``moments`` also when each row was due, in a column ``time``."""
        number = Number(self.judgement, short=False) if ref == JUDGEMENT else self.numbers[ref]
        columns = [*self.labels, *(["toDateTime(moment, 'UTC') AS time"] if moments else []),
                   f"toFloat64({number.value}) AS value"]  # fmt: skip
        text = query_text(number.file or self.query)
        for name, value in {"columns": ", ".join(columns), "steps": "1" if number.short else "72"}.items():
            text = text.replace(f"{{{name}}}", value)
        return text

    def json(self, runbook: str) -> Json:
        """As the provisioning file has it; ``runbook``: address of the page with a section for each rule."""
        data = [self._query(ref) for ref in (JUDGEMENT, *self.numbers)]
        data += [_expression(ref, {"type": "math", "expression": text}) for ref, text in self.maths.items()]
        above = {"evaluator": {"type": "gt", "params": [0.5]}}
        data.append(_expression(CONDITION, {"type": "threshold", "expression": JUDGEMENT, "conditions": [above]}))
        labels = {"severity": self.severity, "rule": self.rule}
        labels |= {"definition": self.definition} if self.definition else {}
        annotations = {
            "summary": self.summary, "description": self.description, "runbook_url": f"{runbook}#{self.rule.lower()}",
        }  # fmt: skip
        found: Json = {"uid": self.uid, "title": self.title, "condition": CONDITION, "data": data}
        if self.panel:
            uid, panel = self.panel
            found |= {"dashboardUid": uid, "panelId": panel}
            annotations |= {"__dashboardUid__": uid, "__panelId__": str(panel)}
        return found | {
            "noDataState": self.no_data, "execErrState": "Error", "for": self.wait, "annotations": annotations,
            "labels": labels,
        }  # fmt: skip

    def _query(self, ref: str) -> Json:
        return {
            "refId": ref, "relativeTimeRange": {"from": self.window, "to": 0}, "datasourceUid": DATA_SOURCE["uid"],
            "model": {
                "refId": ref, "datasource": DATA_SOURCE, "editorType": "sql", "rawSql": self.sql(ref),
                "queryType": "table", "format": 1, "pluginVersion": PLUGIN_VERSION,
            },
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Group:
    """Rules that are evaluated together, one after the other."""

    name: str
    interval: str
    folder: str = "Flowtide"


@cache
def query_text(name: str) -> str:
    """A file of ``dashboards/queries`` without its comments; ``{{name}}`` stands for another file."""
    # An indent of one space: the rules' file has each query many times.
    return _INDENT.sub(lambda found: " " * (len(found[0]) // 4), _whole(name))


def _whole(name: str) -> str:
    text = _COMMENT.sub("", (QUERIES / f"{name}.sql").read_text(encoding="utf-8")).strip()
    return re.sub(r"\{\{(\w+)\}\}", lambda found: _whole(found[1]), text)


def _expression(ref: str, model: Json) -> Json:
    return {
        "refId": ref, "relativeTimeRange": {"from": 300, "to": 0}, "datasourceUid": EXPRESSION,
        "model": {"refId": ref, "datasource": {"type": EXPRESSION, "uid": EXPRESSION}, **model},
    }  # fmt: skip

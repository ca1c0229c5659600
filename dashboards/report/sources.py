"""Which volumes of a user count: those that flows tell or those of accounting, as ``v_user_day`` decides it."""

from dataclasses import dataclass

from dashboards.report.model import Source
from sinks import Store

_SETTING = "volume_source:"  # before service/access; sinks/migrations.py writes it
_OTHER: dict[Source, Source] = {"netflow": "accounting", "accounting": "netflow"}


@dataclass(frozen=True, slots=True)
class Sources:
    """Of one service, by access."""

    default: Source
    exceptions: frozenset[str]  # accesses that are of the other source

    def of(self, access: str) -> Source:
        """Of an access."""
        return _OTHER[self.default] if access in self.exceptions else self.default

    def where(self, source: Source) -> str:
        """The condition of rows whose ``access`` is of this source; wants the parameter ``exceptions``."""
        return f"{'NOT ' if source == self.default else ''}has({{exceptions:Array(String)}}, toString(access))"


def sources_of(store: Store, service: str) -> Sources:
    """As the store's settings have it now; mobile and IPoE are of accounting unless they say otherwise."""
    told = store.query(
        "SELECT name, argMax(value, made) AS told FROM setting WHERE startsWith(name, {prefix:String}) GROUP BY name",
        prefix=f"{_SETTING}{service}/",
    ).to_pylist()
    default: Source = "accounting" if service == "mobile" else "netflow"
    chosen = {"ipoe": "accounting"}
    chosen |= {row["name"].removeprefix(f"{_SETTING}{service}/"): row["told"] for row in told if row["told"]}
    return Sources(default, frozenset(access for access, source in chosen.items() if source != default))

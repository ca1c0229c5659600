"""Years: frozen weeks beside each other, own and published, and the months behind them."""

from dashboards.panels.model import Dashboard, Json, Override, Row, Table, Target, Variable
from dashboards.panels.weeks import (
    CONCENTRATION,
    HOURS,
    LEVELS,
    LIST,
    MONTHS,
    PORTS,
    SLOTS,
    USAGE,
    distribution,
    over_years,
)
from dashboards.panels.xy import XY, Axis

_SERVICE = Variable("service", "Service", values=(("fixed", "fixed"), ("mobile", "mobile")), current="fixed")
_WEEKS = Variable(
    "weeks", "Weeks", several=True, query="""
SELECT concat(if(origin = 'own', toString(monday), concat(label, ' ', upper(toString(origin)))),
    ' ', arrayStringConcat(arraySort(groupUniqArray(toString(service))), '+')) AS __text,
    concat(toString(monday), '/', origin) AS __value
FROM v_report_week GROUP BY monday, origin, label ORDER BY monday DESC, origin
""",
)  # fmt: skip
_VOLUME: Json = {"unit": "decbytes"}
_SHARE: Json = {"unit": "percentunit", "decimals": 1}


def _columns(properties: Json, *names: tuple[str, str]) -> tuple[Override, ...]:
    return tuple(Override("byName", name, {**properties, "displayName": shown}) for name, shown in names)


_ONE_WEEK = (
    Override("byName", "unmatched", _SHARE), Override("byName", "users", {"unit": "locale"}),
    Override("byName", "sampling", {"displayName": "sampled 1 in", "unit": "locale", "decimals": 0}),
)  # fmt: skip
_USAGE_COLUMNS = (
    *_columns(_VOLUME, *((f"{what}_{way}", f"{what} {way.upper()}")
                         for way in ("in", "out") for what in ("mean", "median", "mode"))),
    *_columns({"unit": "none", "decimals": 2}, ("growth_in", "mode IN, growth"), ("growth_out", "mode OUT, growth")),
    *_ONE_WEEK,
)  # fmt: skip
_CONCENTRATION_COLUMNS = (
    *_columns(_SHARE, *((f"{what}_{way}", f"{word} {way.upper()}")
                        for way in ("in", "out") for what, word in (("top10", "10 %"), ("top1", "1 %")))),
    *_ONE_WEEK,
)  # fmt: skip
_PORT_FORMS = tuple(
    Override("byName", name, properties)
    for slot in range(1, SLOTS + 1)
    for name, properties in ((f"{slot}", _SHARE), (f"{slot} change", {"unit": "none", "decimals": 1}))
)
_MONTH_COLUMNS = (
    Override("byName", "month", {"unit": "string"}),
    *_columns(_VOLUME, ("octets_out", "OUT a day"), ("octets_in", "IN a day")),
    *_columns({"unit": "none", "decimals": 2}, ("level_out", "OUT, level"), ("level_in", "IN, level")),
    *_columns(_SHARE, ("yoy_out", "OUT, on year"), ("yoy_in", "IN, on year"), ("ipoe_of_out", "IPoE of OUT"),
              ("ipoe_of_in", "IPoE of IN")),
)  # fmt: skip
_HUES = ("#3274d9", "#ff8c1a", "#3d9a50", "#8f6fc4")


def _hues(*words: str) -> tuple[Override, ...]:
    """A colour a week, whatever of it is drawn; IN dashed beside OUT."""
    return tuple(
        Override("byName", f"{slot}{word}", {
            "color": {"mode": "fixed", "fixedColor": _HUES[slot - 1]},
            "custom.lineStyle": {"fill": "dash", "dash": [6, 4]} if word == " IN" else {"fill": "solid"}})
        for slot in range(1, SLOTS + 1) for word in words
    )  # fmt: skip


_A_DAY = Axis("octets a day", "decbytes", log=True)
_NUMBERS = "Numbers of the weeks: see Weeks."


def _usage_points(number: int, way: str, word: str) -> XY:
    return XY(
        number, f"{word} a day, over the years", "Mean, median and mode of personal users' octets a day in each chosen"
        " week. Points, because a line from one method to the next would tell a growth that nobody measured.", 12, 11,
        targets=(Target(over_years(way), series=False),), unit="decbytes", x="year", points=8,
        texts=("week", "method"), across=Axis("year"), up=Axis("octets a day", log=True),
    )  # fmt: skip


def _weeks_distribution(number: int, way: str, word: str) -> XY:
    return XY(
        number, f"Distribution of {word} a day", "Part of the users with any octets by octets a day, in bins of a tenth"
        f" of a decade; of published weeks there is none. {_NUMBERS}", 12, 12,
        targets=(Target(distribution(way), series=False),), unit="percentunit", low=0, x="octets a day",
        across=_A_DAY, up=Axis("users"), overrides=_hues(""),
    )  # fmt: skip


YEARS = Dashboard(
    "years", "Years", "Frozen weeks of the traffic report beside each other and beside the published years (flowtide"
    " report freeze keeps a week, flowtide report import-published the published ones), and the months behind them.",
    since="now-5y", refresh="", variables=(_SERVICE, _WEEKS),
    lines=(
        (
            Table(1, "Weeks", f"The chosen weeks from the newest; charts below call the first {SLOTS} by their number."
                  " Method: how it was measured; nothing is compared across two. Not complete: what lacks, and sums are"
                  " too low. Unmatched above 2 %: its report was a draft.", 24, 7,
                  targets=(Target(LIST, series=False),), no_value="", overrides=(
                      *_ONE_WEEK, Override("byName", "monday", {"unit": "string"}))),
        ),
        (
            Table(2, "Usage a day", "Tables 1 and 2 of the report: mean, median and mode of personal users' octets a"
                  " day. Growth of the mode is against the next older chosen week of"
                  " the same origin and method. Break: the week before is of another one.", 24, 10,
                  targets=(Target(USAGE, series=False),), no_value="", overrides=_USAGE_COLUMNS),
        ),
        (_usage_points(3, "out", "OUT (download)"), _usage_points(4, "in", "IN (upload)")),
        (
            Table(5, "Ports", "Tables 3 and 4 of the report: shares of all octets of PPPoE or mobile, both directions,"
                  " personal and enterprise. Change: percentage points against the next older chosen week of the same"
                  " origin and method; empty behind a break, of which the last column says between which weeks it is."
                  f" {_NUMBERS}", 13, 14, targets=(Target(PORTS, series=False),), no_value="", overrides=_PORT_FORMS),
            Table(11, "Concentration", "Part of all octets that the heaviest tenth and hundredth of the users have,"
                  " each direction sorted by its own.", 11, 14, targets=(Target(CONCENTRATION, series=False),),
                  no_value="", overrides=_CONCENTRATION_COLUMNS),
        ),
        (
            XY(6, "Hours of a weekday", "Mean of Monday to Friday, personal and enterprise, all accesses; IN dashed."
               " Days that accounting tells are laid over the hours as flows have them; of published weeks there is"
               f" none. {_NUMBERS}", 24, 12, targets=(Target(HOURS, series=False),), unit="bps", low=0, x="hour",
               across=Axis("hour of the day"), up=Axis("bits a second"), overrides=_hues(" IN", " OUT")),
        ),
        (_weeks_distribution(7, "out", "OUT"), _weeks_distribution(8, "in", "IN")),
        (Row(20, "Months"),),
        (
            Table(9, "Months", "Mean octets a day of the months that the time range touches, all accesses, each of one"
                  " source; days: of the access that has fewest, so that a month under way is seen. Level: over OUT of"
                  " the first month. On year: against the same month a year before.", 24, 8,
                  targets=(Target(f"SELECT * FROM ({MONTHS}) ORDER BY month DESC", series=False),), no_value="",
                  overrides=_MONTH_COLUMNS),
        ),
        (
            XY(10, "Level of months", "Mean octets a day of each month over OUT of the first one in the time range.",
               24, 10, targets=(Target(LEVELS, series=False),), unit="none", decimals=2, low=0, x="year",
               across=Axis("year"), up=Axis("first OUT = 1")),
        ),
    ),
)  # fmt: skip

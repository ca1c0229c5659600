"""Items of the report against the published numbers and cases computed by hand."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest

from dashboards.report import captions, hours_items, weeks
from dashboards.report.compose import compose
from dashboards.report.distributions import density
from dashboards.report.model import ALL, IN, OUT, Figure, Material, Number, Quality, Report, ServiceWeek, Table, Week
from dashboards.report.publishing import publish
from tests import report_weeks
from tests.report_weeks import (
    MONDAYS,
    REFERENCE,
    ZONE,
    material,
    months,
    own,
    ports,
    printed_ports,
    stated_levels,
    users,
    volumes,
)

STATED = REFERENCE["stated"]
ITEMS = {f"figure-{number}" for number in range(1, 12)} | {f"table-{number}" for number in range(1, 5)}
NAMES = {"fixed": "broadband", "mobile": "mobile"}


@pytest.fixture(scope="module")
def whole() -> Report:
    return compose(material())


def numbers(report: Report) -> dict[str, Number]:
    return {number.id: number for number in report.numbers}


def value(report: Report, name: str) -> float:
    found = numbers(report)[name].value
    assert found is not None
    return found


def table(report: Report, name: str) -> Table:
    return next(
        item for section in report.sections for item in section.items if item.id == name and isinstance(item, Table)
    )


def figure(report: Report, name: str) -> Figure:
    return next(
        item for section in report.sections for item in section.items if item.id == name and isinstance(item, Figure)
    )


def texts(shown: Table) -> dict[str, list[str]]:
    return {row[0].text: [cell.text for cell in row[1:]] for row in shown.rows}


def test_every_item_of_the_source_report_is_there(whole: Report) -> None:
    shown = [item.id for section in whole.sections for item in section.items]
    assert set(shown) >= ITEMS | {"concentration", "https", "volumes", "ipoe-share", "mode-growth", "quality", "weeks"}
    assert len(shown) == len(set(shown))
    assert not whole.draft and not whole.warnings


def test_every_number_says_what_it_is(whole: Report) -> None:
    assert len(whole.numbers) == len({number.id for number in whole.numbers})
    for number in whole.numbers:
        assert number.definition and number.population and number.unit and number.volume_source and number.week, number
        assert number.coverage in (None, 0.995) and number.service in ("fixed", "mobile"), number
    tables = [item for section in whole.sections for item in section.items if isinstance(item, Table)]
    shown = {cell.number.id for one in tables for row in one.rows for cell in row if cell.number}
    assert shown <= set(numbers(whole))


@pytest.mark.parametrize(("service", "name", "decimals"), [("fixed", "table1", 0), ("mobile", "table2", 1)])
def test_tables_1_and_2_print_what_was_published(whole: Report, service: str, name: str, decimals: int) -> None:
    shown = texts(table(whole, f"table-{name[-1]}"))
    for row in REFERENCE["tables"][name]["rows"]:
        printed = [f"{row[at][what]:,.{decimals}f}" for at in ("in", "out") for what in ("mean", "median", "mode")]
        assert shown[str(row["year"])][:6] == printed
    measured = REFERENCE["tables"][name]["rows"][-1]
    assert shown["2024-06-03"][:6] == shown[str(measured["year"])][:6]
    assert shown["2024-06-03"][6:] == ["20,000", "10"]  # N, and those with a lease whom nothing told of


def test_a_change_of_method_or_origin_parts_the_rows(whole: Report) -> None:
    rows = [row[0].text for row in table(whole, "table-1").rows]
    # Personal only from 2019 on, IPoE from 2021 on (report-spec section 5, 13); then the own weeks.
    assert [rows[at] for at in table(whole, "table-1").breaks] == ["2019", "2021", "2019-06-03"]
    assert table(whole, "table-1").breaks_are_rows


@pytest.mark.parametrize("service", ["fixed", "mobile"])
def test_tables_3_and_4_print_what_was_published_and_how_it_changed(whole: Report, service: str) -> None:
    name = {"fixed": "table-3", "mobile": "table-4"}[service]
    shown = table(whole, name)
    published = REFERENCE["tables"][name.replace("-", "")]["rows"]
    assert shown.columns[1:7] == ("2020", "2021", "2022", "2023", "2024", "change")
    assert len(shown.rows) == len(published)  # the published list of rows, in its order
    for row, want in zip(shown.rows, published, strict=True):
        cells = [cell.text for cell in row]
        assert cells[1:6] == [f"{want['pct'][str(year)]:.1f}" for year in range(2020, 2025)]
        change = round(want["pct"]["2024"] - want["pct"]["2023"], 1)
        for at in (shown.columns.index("change"), len(cells) - 1):
            told = row[at].number
            assert told is not None and told.value == pytest.approx(change, abs=1e-9) and told.unit == "points"
            assert float(cells[at].replace("−", "-")) == pytest.approx(change, abs=1e-9)
    assert shown.columns[shown.breaks[0]] == "2020-06-01"  # own columns are apart from the published ones


def test_port_text_of_the_source_report(whole: Report) -> None:
    stated = STATED["text_rounded_2024"]["broadband"]
    assert round(value(whole, "table-3/2024-06-03/tcp")) == stated["tcp_pct"]
    assert round(value(whole, "table-3/2024-06-03-2023-05-29/tcp")) == stated["tcp_change_pt"]
    assert round(value(whole, "table-3/2024-06-03-2023-05-29/tcp/443")) == stated["tcp443_change_pt"]
    assert round(value(whole, "table-3/2024-06-03-2023-05-29/udp/443")) == stated["udp443_change_pt"]
    first = [row for row in table(whole, "largest-ports-fixed").rows if "TCP" in row[0].text and "31000" in row[0].text]
    assert first[0][1].text == f"{stated['top_dynamic_port_pct']:.2f}"


def test_growth_is_what_was_stated(whole: Report) -> None:
    for service, name in NAMES.items():
        for at in ("in", "out"):
            key = f"volumes/{service}/{at}"
            assert round(value(whole, f"{key}/yoy")) == STATED["growth_pct_past_year"][name][at.upper()]
            assert round(value(whole, f"{key}/yoy-before")) == STATED["growth_pct_year_before"][name][at.upper()]
    five = STATED["broadband_growth_2019_06_to_2024_06"]
    for at in ("in", "out"):
        assert round(value(whole, f"volumes/fixed/{at}/five-years"), 2) == five[at.upper()]
        assert round(value(whole, f"volumes/fixed/{at}/annual"), 2) == five[f"annual_{at.upper()}"]
    assert round(value(whole, "volumes/mobile/out/level"), 1) == STATED["mobile_OUT_level_vs_2020_01"]
    shown = texts(table(whole, "volumes"))
    assert shown["broadband IN"] == ["+14\u00a0%", "+11\u00a0%", "1.80", "1.72", "1.11"]


def test_share_of_ipoe(whole: Report) -> None:
    for at in ("in", "out"):
        now = STATED["ipoe_share_of_broadband_pct_2024_06"][at.upper()]
        assert value(whole, f"ipoe-share/fixed/2024-06/{at}") == pytest.approx(now, abs=0.01)
        change = STATED["ipoe_share_change_pt_yoy"][at.upper()]
        assert value(whole, f"ipoe-share/fixed/change/{at}") == pytest.approx(change, abs=1e-9)


def test_growth_of_the_mode_is_of_printed_values_and_does_not_cross_a_break(whole: Report) -> None:
    shown = texts(table(whole, "mode-growth"))
    year, five = STATED["mode_growth_broadband_2023_2024"], STATED["mode_growth_broadband_2019_2024"]
    assert shown["broadband, a year"][2:] == [f"{year['IN']:.2f}", f"{year['OUT']:.2f}"]
    assert [round(float(text), 1) for text in shown["broadband, five years"][2:]] == [five["IN"], five["OUT"]]
    assert shown["broadband, five years, as published"][2:] == ["–", "–"]
    across = texts(table(compose(material(across_breaks=True)), "mode-growth"))
    assert [round(float(text), 1) for text in across["broadband, five years, as published"][2:]] == [
        five["IN"],
        five["OUT"],
    ]


def test_the_largest_step_of_the_published_years_is_uploads_of_2020(whole: Report) -> None:
    # Report-spec section 5, 14: mode of IN 89 -> 158; no step across a change of method is one.
    label = "broadband, largest step in a year, as published"
    row = next(row for row in table(whole, "mode-growth").rows if row[0].text == label)
    assert [cell.text for cell in row[1:4]] == ["2019", "2020", f"{158 / 89:.2f}"]
    only = material(("fixed",), compare={}, years={"fixed": report_weeks.published("fixed")})
    text = " ".join(words for words, _ in compose(only).said)
    assert "grew most in uploads from 2019 to 2020, 1.78 times" in text


def test_no_change_is_told_across_a_change_of_our_own_method() -> None:
    older = {service: replace(own(service, 2023), method="flowtide-0") for service in NAMES}
    report = compose(material(compare=older))
    assert texts(table(report, "mode-growth"))["broadband, a year"][2:] == ["–", "–"]
    shown = table(report, "table-3")
    assert shown.columns[-1] == "2024-06-03"  # no column of changes after it
    assert [shown.columns[at] for at in shown.breaks] == ["2020-06-01", "2023-05-29", "2024-06-03"]
    told = " ".join(words for words, _ in report.said)
    assert "Against a year before, the mean" not in told and "against a year before, TCP" not in told


def test_concentration(whole: Report) -> None:
    for service, name in NAMES.items():
        for what in ("top10", "top1"):
            for at in ("in", "out"):
                stated = STATED["concentration_2024_pct"][name][what][at.upper()]
                assert value(whole, f"concentration/{service}/2024-06-03/{at}/{what}") == pytest.approx(stated)
    assert texts(table(whole, "concentration"))["heaviest 10\u00a0%, 2024-06-03"] == ["50", "75", "48", "45"]


@pytest.mark.parametrize("service", ["fixed", "mobile"])
def test_three_definitions_of_the_share_of_quic(whole: Report, service: str) -> None:
    derived = REFERENCE["derived"]["quic_share"][service]["2024"]
    key = f"https/{service}/2024-06-03/all"
    assert value(whole, f"{key}/udp443") == pytest.approx(derived["Q1_udp443_over_total_pct"], abs=1e-6)
    assert value(whole, f"{key}/q2") == pytest.approx(derived["Q2_udp443_over_443_pct_lo_mid_hi"][1], abs=0.01)
    assert value(whole, f"{key}/q3") == pytest.approx(derived["Q3_udp443_over_udp_pct_lo_mid_hi"][1], abs=0.01)
    assert value(whole, f"{key}/both443") == pytest.approx(derived["web443_tcp_plus_udp_over_total_pct"], abs=1e-6)


def test_port_443_by_ip_version_is_of_the_same_version() -> None:
    four = ports("mobile", {(6, ALL): 60.0, (6, 443): 30.0, (17, ALL): 40.0, (17, 443): 10.0}, six=0.0)
    six = ports("mobile", {(6, ALL): 50.0, (6, 443): 45.0, (17, ALL): 50.0, (17, 443): 40.0}, six=1.0)
    both = tuple(port for port in (*four, *six) if port.octets)
    report = compose(material(week={**material().week, "mobile": own("mobile", 2024, ports=both)}))
    key = "https/mobile/2024-06-03"
    assert value(report, f"{key}/ipv4/tcp443") == pytest.approx(30)
    assert value(report, f"{key}/ipv6/tcp443") == pytest.approx(45)
    assert value(report, f"{key}/all/tcp443") == pytest.approx((30 + 45) / 2)
    assert value(report, f"{key}/ipv6/q2") == pytest.approx(100 * 40 / 85)
    assert value(report, f"{key}/ipv6/whole") == pytest.approx(50)
    words = " ".join(words for words, _ in report.said)
    assert "Mobile: the share of TCP 443 was higher on IPv6 than on IPv4" in words


# ---------------------------------------------------------------------------------------------------------------------
# Hours.


def test_weekday_means_are_of_monday_to_friday_and_of_the_hours_that_are_there() -> None:
    octets = np.zeros(168, "i8")
    octets[np.arange(0, 120, 24)] = [1, 2, 3, 4, 100]  # midnights of Monday to Friday
    octets[120], octets[144] = 1_000, 1_000  # of the weekend
    week = Week(MONDAYS[2024], ZONE)
    assert weeks.weekday_profile(octets.astype("f8"), week)[0] == (1 + 2 + 3 + 4 + 100) / 5
    friday = int(week.hours[96])
    whole_ = own("fixed", 2024, volumes=(replace(volumes("fixed", week.monday)[0], octets=octets),))
    broken = replace(whole_, quality=replace(whole_.quality, missing_hours=(friday,)))
    told = hours_items.profile(broken, IN)
    assert told is not None and told[0] == (1 + 2 + 3 + 4) / 4  # not over five, and not with a nought


@pytest.mark.parametrize(("monday", "hours"), [(date(2024, 10, 21), 169), (date(2024, 3, 25), 167)])
def test_hours_of_the_day_are_local_where_the_clock_is_changed(monday: date, hours: int) -> None:
    week = Week(monday, "Europe/Berlin")
    local = weeks.hours_of_day(week)
    assert len(local) == hours == len(week.hours)
    sunday = local[weeks.weekdays(week) == 6].tolist()
    assert sunday == ([0, 1, 2, 2] if hours == 169 else [0, 1]) + list(range(3, 24))
    assert weeks.weekday_profile(local.astype("f8"), week).tolist() == list(range(24))


def test_a_missing_hour_is_named_and_left_out() -> None:
    second = int(Week(MONDAYS[2024], ZONE).hours[37])  # Tuesday 13:00
    week = own("fixed", 2024)
    days = {"ipoe of wholesale": (date(2024, 6, 5),)}
    quality = replace(week.quality, missing_hours=(second,), missing_days=days, silent={"192.0.2.9": (second,)})
    week = replace(week, quality=quality)
    report = compose(material(week={**material().week, "fixed": week}))
    told = " ".join(report.warnings)
    assert "Tue 2024-06-04 13:00" in told and "accounting of IPoE lacks Wed 2024-06-05" in told
    assert "192.0.2.9" not in told  # an exporter is named in the table of quality alone
    assert any("192.0.2.9" in cell.text for row in table(report, "quality").rows for cell in row)
    assert not report.draft
    lines = figure(report, "figure-7").plots[1].lines
    assert [np.flatnonzero(np.isnan(line.y)).tolist() for line in lines] == [[37]] * len(lines)
    assert not numbers(report)["table-1/2024-06-03/out/mean"].complete
    assert table(report, "table-1").rows[-1][0].mark == "incomplete"
    assert numbers(report)["table-1/2023-05-29/out/mean"].complete


def test_peaks(whole: Report) -> None:
    # Of the hours that the maker of weeks has: 21:00, 14:00, and 85 at noon below 93 and 97.
    assert value(whole, "peaks/fixed/2024-06-03/out/hour") == 21
    assert value(whole, "peaks/fixed/2024-06-03/in/hour") == 14
    assert value(whole, "peaks/fixed/2024-06-03/in/noon") == pytest.approx(100 * (1 - 85 / 93))
    day = [82, 90, 93, 85, 97, 100, 98, 95, 88]  # 9:00 to 17:00
    everything = 60 + 48 + 40 + 36 + 34 + 35 + 42 + 52 + 66 + sum(day) + 84 + 82 + 80 + 78 + 74 + 68
    assert value(whole, "peaks/fixed/2024-06-03/in/daytime") == pytest.approx(100 * sum(day) / everything)


def test_weeks_of_ports_have_scales_of_their_own(whole: Report) -> None:
    above, below = figure(whole, "figure-7").plots
    assert (above.title, below.title) == ("2023-05-29", "2024-06-03")
    assert [line.name for line in above.lines] == ["TCP 80", "TCP 443", "TCP >=1024", "UDP 443"]
    assert float(np.max(below.lines[1].y)) == pytest.approx(54 / (7 + 54 + 6 + 21 + 12))  # of all protocols
    assert [text for _, text in below.x_ticks] == ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]


# ---------------------------------------------------------------------------------------------------------------------
# Users.


def test_density_is_of_users_with_octets_and_integrates_to_one() -> None:
    some = replace(users("fixed", 2024, OUT), bins=(70, 72), numbers=(30, 10), zero=60)
    x, y = density(some)
    there = (x > 9e6) & (x < 1.1 * 10**7.2)
    assert x[there].tolist() == pytest.approx([1e7, 10**7.1, 10**7.2])
    assert y[there].tolist() == pytest.approx([7.5, 0.0, 2.5])  # of a decade: 30 of 40 in a tenth of one
    assert (x[0], x[-1]) == pytest.approx((1e4, 1e11)) and not y[~there].any()
    assert float(y.sum()) * 0.1 == pytest.approx(1)


def test_figure_11_has_a_line_for_each_year_that_is_there(whole: Report) -> None:
    out, into = figure(whole, "figure-11").plots
    assert [line.name for line in out.lines] == ["2019-06-03 OUT", "2020-06-01 OUT", "2023-05-29 OUT", "2024-06-03 OUT"]
    assert all(line.dotted for line in into.lines) and not any(line.dotted for line in out.lines)
    five = figure(whole, "figure-9").plots[0].lines
    assert [line.name for line in five if not line.dotted] == [
        f"{day} OUT" for day in ("2020-02-03", "2020-06-01", "2023-05-29", "2024-06-03")
    ]


def test_mode_of_few_users_is_marked() -> None:
    report = compose(material(week={**material().week, "fixed": own("fixed", 2024, n=1_999)}))
    modes = next(row for row in table(report, "table-1").rows if row[0].text == "2024-06-03")
    assert (modes[3].mark, modes[6].mark, modes[1].mark) == ("few users", "few users", "")


def test_sampling_error_stands_beside_the_share() -> None:
    week = own("fixed", 2024, sampling=1_000.0, packets=10**6)
    report = compose(material(week={**material().week, "fixed": week}))
    share = numbers(report)["table-3/2024-06-03/tcp/443"]
    assert share.n == 10**6 and share.n_of == "sampled packets"
    assert share.error == pytest.approx(100 * 1.96 * (0.538 * 0.462 / 10**6) ** 0.5)
    assert table(report, "table-3").columns[-1] == "± points"
    mean = numbers(report)["table-1/2024-06-03/out/mean"]
    told = 5743 * 20_000 * 7 * 1e6  # octets, of a million packets
    relative = 1.96 * (1500 / (told / 1e6 / 1000) / 1e6) ** 0.5
    assert mean.error == pytest.approx(5743 * relative, rel=1e-6)


# ---------------------------------------------------------------------------------------------------------------------
# What is not there.


def test_above_two_percent_unmatched_is_a_draft() -> None:
    week = own("fixed", 2024)
    for unmatched, draft in ((2.0, False), (2.1, True)):
        quality = replace(week.quality, unmatched_octets=round(week.quality.octets * unmatched / 100))
        report = compose(material(("fixed",), week={"fixed": replace(week, quality=quality)}))
        assert bool(report.draft) is draft
    assert "2.1\u00a0%" in report.draft[0]


def test_a_week_that_is_not_there_is_named() -> None:
    lacking = {
        "figure-2": ("the week of 2024-01-29 is not there",),
        "figure-3": ("the week of 2023-05-29 is not there",),
    }
    report = compose(material(compare={}, missing=lacking))
    assert figure(report, "figure-2").missing == lacking["figure-2"]
    assert figure(report, "figure-3").missing == lacking["figure-3"] and figure(report, "figure-3").plots
    assert figure(report, "figure-7").missing and len(figure(report, "figure-7").plots) == 1
    # The year before it that is there is compared with; of the two mondays of 2020 the one in June.
    assert [column for column in table(report, "table-3").columns if column != "change"][-2:] == [
        "2020-06-01",
        "2024-06-03",
    ]


def test_nothing_known_of_a_service_is_said_and_no_error() -> None:
    week = Week(MONDAYS[2024], ZONE)
    nothing = ServiceWeek(week, "fixed", quality=Quality(missing_hours=tuple(int(second) for second in week.hours)))
    report = compose(Material(("fixed", "mobile"), {"fixed": nothing}, {}, {}, {}, (), {}, material().made))
    for section in report.sections:
        for item in section.items:
            if item.id in ITEMS:
                assert item.missing, item.id
    assert "no hour of the week has flows" in report.warnings[0]
    assert all(
        number.value is None or number.absolute or number.unit in ("percent", "packets") for number in report.numbers
    )


def test_flows_and_accounting_of_one_access_are_never_added() -> None:
    told = months(stated_levels())
    twice = tuple(replace(one, source="netflow") for one in told if one.access == "mobile" and one.first.year == 2024)
    assert value(compose(material(months=(*told, *twice))), "volumes/mobile/out/yoy") == pytest.approx(20, abs=0.01)
    # Nothing of the week says which is in force: both would be added, and the growth would be that of two sources.
    unsaid = replace(own("mobile", 2024), quality=Quality())
    both = compose(material(months=(*told, *twice), week={**material().week, "mobile": unsaid}))
    assert value(both, "volumes/mobile/out/yoy") == pytest.approx(20, abs=0.01)


def test_months_of_another_source_than_the_week_was_frozen_with_are_told() -> None:
    frozen = replace(own("mobile", 2024), quality=Quality(sources={"mobile": "netflow"}))
    report = compose(material(week={**material().week, "mobile": frozen}))  # its months are of accounting
    assert value(report, "volumes/mobile/out/yoy") == pytest.approx(20, abs=0.01)


def test_a_month_that_is_not_told_whole_is_named() -> None:
    told = tuple(
        replace(one, octets=one.octets // 2, days_told=15) if one.first == date(2024, 6, 1) else one
        for one in months(stated_levels())
    )
    report = compose(material(months=told))
    assert value(report, "volumes/mobile/out/yoy") == pytest.approx(20, abs=0.01)  # over the days that were told
    assert not numbers(report)["volumes/mobile/out/yoy"].complete
    assert any("June 2024" in note for note in figure(report, "figure-1").notes)
    later = tuple(one for one in told if one.first != date(2020, 1, 1))
    notes = figure(compose(material(months=later)), "figure-1").notes
    assert any("June 2019" in note and "January 2020" in note for note in notes)


def test_one_week_a_year_is_the_nearest_to_the_analysed_one() -> None:
    days = [date(2021, 2, 1), date(2021, 5, 31), date(2021, 12, 27)]
    found = weeks.one_a_year([own("fixed", 2020, day) for day in days], MONDAYS[2024] + timedelta(days=3))
    assert [week.week.monday for week in found] == [date(2021, 5, 31)]


def test_not_a_school_week_is_said() -> None:
    week = replace(own("fixed", 2024), school_week=False)
    assert any("school week" in one for one in captions.warnings(material(("fixed",), week={"fixed": week})))


def test_rows_of_protocols_nobody_published_are_listed_where_they_are_printed_as_more_than_nought() -> None:
    for share, listed in ((0.04, False), (0.06, True)):
        told = ports("fixed", printed_ports("fixed", 2024) | {(58, ALL): share})
        shown = table(compose(material(week={**material().week, "fixed": own("fixed", 2024, ports=told)})), "table-3")
        assert ("ICMPv6" in [row[0].text for row in shown.rows]) is listed


@pytest.mark.parametrize("services", [("fixed",), ("mobile",), ("fixed", "mobile")])
def test_a_report_of_one_service_or_of_nothing_at_all_is_a_report(services: tuple[str, ...]) -> None:
    report = compose(material(services))
    shown = {item.id for section in report.sections for item in section.items}
    assert ("table-1" in shown) is ("fixed" in services) and ("table-2" in shown) is ("mobile" in services)
    nothing = compose(Material(services, {}, {}, {}, {}, (), {}, material().made))
    assert not nothing.numbers and nothing.subtitle == "No week"
    assert publish(nothing).published


def test_a_week_of_169_hours_is_drawn_by_local_days() -> None:
    week = own("fixed", 2024)
    autumn = replace(
        week,
        week=Week(date(2024, 10, 21), "Europe/Berlin"),
        volumes=tuple(replace(one, octets=np.resize(one.octets, 169)) for one in week.volumes),
        buckets=tuple(replace(one, octets=np.resize(one.octets, 169)) for one in week.buckets),
    )
    plot = figure(compose(material(("fixed",), week={"fixed": autumn})), "figure-7").plots[1]
    assert [at for at, _ in plot.x_ticks] == [0, 24, 48, 72, 96, 120, 144]  # the long day is the last
    assert len(plot.lines[0].x) == 169

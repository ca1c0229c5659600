"""The page: one file that asks for nothing, in which the data are text, and a draft cannot be overlooked."""

import re
from collections.abc import Sequence
from html.parser import HTMLParser

from dashboards.report.model import Cell, Report, Section, Table
from dashboards.report.page import Links, item_kind, marks, page
from tests import report_samples as samples

VOID = {"meta", "link", "br", "hr", "img", "input"}
NO_LINKS = Links({})
DRAWN = {
    f"figure-{number}": '<?xml version="1.0"?>\n<svg width="4pt" height="3pt"></svg>' for number in (1, 2, 3, 5, 7, 11)
}


class Tree(HTMLParser):
    """Elements in order with their attributes and text; an element that is not closed is an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, (tag, self.getpos())

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def made(report: Report, links: Links = NO_LINKS) -> Tree:
    return Tree(page(report, DRAWN, links))


def test_nothing_is_asked_of_anybody_and_nothing_runs() -> None:
    text = page(samples.report(), DRAWN, NO_LINKS)
    tree = Tree(text)
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in tree.found}
    assert not re.search(r"url\(|@import|src=|https?://(?!www\.w3\.org)", text)
    assert not any(name.startswith("on") for _, attributes in tree.found for name in attributes)


def test_what_the_data_say_is_text() -> None:
    text = page(samples.report(), DRAWN, NO_LINKS)
    assert "<b>more</b>" not in text and "&lt;b&gt;more&lt;/b&gt;" in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_headings_and_contents_lead_to_every_item() -> None:
    tree = made(samples.report())
    names = [attributes["id"] for _, attributes in tree.found if attributes.get("id")]
    assert len(names) == len(set(names))
    aims = [attributes["href"] for attributes in tree.all("a")]
    assert {"#figure-7", "#table-3", "#usage"} <= set(aims)
    assert all(str(aim)[1:] in names for aim in aims if str(aim).startswith("#"))
    assert len(tree.all("h1")) == 1 and len(tree.all("figure")) == 6 == len(tree.all("svg"))
    assert tree.all("html")[0]["lang"] == "en-GB"


def test_every_cell_has_a_heading() -> None:
    tree = made(samples.report())
    scopes = [attributes["scope"] for attributes in tree.all("th")]
    assert scopes.count("col") == 5 + 12 and scopes.count("row") == 3 + 9
    assert all("scope" in attributes for attributes in tree.all("th"))
    assert "224" in tree.text and "b" in tree.text  # its footnote, and below
    assert "few users" in "".join(tree.text)


def test_footnotes_are_lettered_in_order() -> None:
    assert marks(samples.usage_table()) == {"not told": "a", "few users": "b"}
    many = Table("t", "", ("a",), tuple((Cell("1", None, f"mark {number}"),) for number in range(28)), "")
    assert list(marks(many).values())[24:] == ["y", "z", "aa", "ab"]


def test_a_break_in_method_is_drawn_where_it_is() -> None:
    tree = made(samples.report())
    rows = [attributes.get("class") for attributes in tree.all("tr")]
    assert rows.count("break") == 1  # table 1 breaks by rows
    cells = [str(attributes.get("class")) for attributes in tree.all("td")]
    assert sum("break" in one.split() for one in cells) == 2 * 9  # table 3 before two of its columns


def test_a_draft_says_so_on_top_and_on_every_sheet() -> None:
    final = "".join(made(samples.report()).text)
    assert "DRAFT" not in final and "Draft" not in final
    tree = made(samples.report(draft=("3 percent belong to nobody",), warnings=("Tue 2024-06-04 13:00 is missing",)))
    text = "".join(tree.text)
    assert "3 percent belong to nobody" in text and "Tue 2024-06-04 13:00 is missing" in text
    assert any(attributes.get("class") == "every-page" for attributes in tree.all("div"))
    assert "DRAFT: Traffic report" in text  # its title


def test_files_are_linked_beside_their_item() -> None:
    links = Links({"table-1": (("tables/table-1.csv", "CSV"),)}, (("numbers.json", "All numbers (JSON)"),))
    aims = [str(attributes["href"]) for attributes in made(samples.report(), links).all("a")]
    assert "tables/table-1.csv" in aims and "numbers.json" in aims


def test_what_an_item_lacks_is_said() -> None:
    text = "".join(made(samples.report()).text)
    assert "the week 2019-05-27 is missing" in text


def test_items_are_called_by_their_numbers() -> None:
    tables = [Table(name, "", ("a",), (), "") for name in ("table-3", "volumes", "largest-ports")]
    assert [item_kind(table) for table in tables] == ["Table 3", "", ""]
    assert Section("a", "b", (), tuple(tables)).items[1].id == "volumes"

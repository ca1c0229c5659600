"""Texts of alerts: what Grafana's and Prometheus' functions write, by their documentation, and nothing else."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.alerts.templates import NOTHING, TemplateError, humanize, humanize_percentage, parse

LABELS = {"service": "fixed", "odd": "{{ $labels.service }}"}
VALUES = {"Q": 0.28125, "N": 12_345.0, "Z": 0.0}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no holes", "no holes"),
        ("", ""),
        ("{{ $labels.service }}", "fixed"),
        ("{{$labels.service}}: {{ $values.N.Value }}.", "fixed: 12345."),
        ("{{ humanizePercentage $values.Q.Value }}", "28.12%"),
        ("{{ humanize $values.N.Value }}", "12.35k"),
        ('{{ printf "%.1f" $values.Q.Value }}', "0.3"),
        ('{{ printf "%+.2f pt" $values.Q.Value }}', "+0.28 pt"),
        ('{{ printf "%.0f %%" $values.N.Value }}', "12345 %"),
        ("{{ $values.Z.Value }}", "0"),
        # What is missing is said and never 0.
        ("{{ $labels.none }} {{ $values.X.Value }} {{ humanize $values.X.Value }}", f"{NOTHING} {NOTHING} {NOTHING}"),
        # What a label holds is no template.
        ("{{ $labels.odd }}", "{{ $labels.service }}"),
    ],
)
def test_texts(text: str, expected: str) -> None:
    assert parse(text).expand(LABELS, VALUES) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    # As in Prometheus' own tests of its templates, and by hand.
    [(0.0, "0"), (1.0, "1"), (1_234_567.0, "1.235M"), (0.12, "120m"), (-1_000.0, "-1k"), (999.9, "999.9"),
     (1e-9, "1n"), (1e30, "1e+06Y"), (5e-30, "5e-06y")],
)  # fmt: skip
def test_humanize(value: float, expected: str) -> None:
    assert humanize(value) == expected


def test_a_share_in_per_cent() -> None:
    assert humanize_percentage(0.281) == "28.1%"
    assert humanize_percentage(1 / 3) == "33.33%"


@given(st.floats(allow_nan=False, allow_infinity=False).filter(lambda x: x == 0 or 1e-20 < abs(x) < 1e20))
def test_humanized_numbers_are_the_numbers(value: float) -> None:
    powers = {"": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18, "Z": 21, "m": -3, "u": -6, "n": -9, "p": -12,
              "f": -15, "a": -18, "z": -21}  # fmt: skip
    text = humanize(value)
    prefix = text[-1] if text[-1].isalpha() else ""
    back = float(text.removesuffix(prefix)) * 10 ** powers[prefix]
    assert math.isclose(back, value, rel_tol=1e-3)


@pytest.mark.parametrize(
    "text",
    ["{{ if gt $values.A.Value 1 }}x{{ end }}", "{{ $value }}", "{{ $labels.service", "}} {{", "{{ . }}",
     '{{ printf "%s" $values.A.Value }}', '{{ printf "%.1f%.1f" $values.A.Value }}', "{{ humanize 1 }}",
     '{{ printf "%*f" $values.A.Value }}', "{{ $labels.a.b }}", "{{ len $labels.a }}", "x" * 5_000],
)  # fmt: skip
def test_what_is_not_understood_is_refused_when_read(text: str) -> None:
    with pytest.raises(TemplateError):
        parse(text)


@given(st.text(alphabet='{} $labels.vuX"printf%.1f\\\n', max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        template = parse(text)
    except TemplateError:
        return
    template.expand(LABELS, VALUES)

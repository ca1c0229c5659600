"""The traffic model as the simulator reads it, against the file itself."""

import json

import pytest

from flowtide.simulator import model


def test_a_mixture_is_that_of_its_row() -> None:
    # Report of 2024, mobile OUT, as the model's documentation prints it.
    found = model.mixture("mobile", 2, 2024)
    assert found.weights == pytest.approx((0.413767, 0.504911, 0.081322), abs=1e-6)
    assert found.means == pytest.approx((1.15343, 2.08569, 2.58909), abs=5e-6)
    assert found.widths == pytest.approx((0.53848, 0.39800, 0.35499), abs=5e-6)
    assert sum(found.weights) == pytest.approx(1, abs=1e-15)


def test_years_are_those_of_the_report() -> None:
    assert model.years("fixed") == tuple(range(2007, 2025))
    assert model.years("mobile") == tuple(range(2015, 2025))
    with pytest.raises(KeyError):
        model.mixture("mobile", 1, 2014)


def test_port_mixes_add_up() -> None:
    for service in ("fixed", "mobile"):
        for year in range(2020, 2025):
            assert sum(model.port_mix(service, year).values()) == pytest.approx(100, abs=1e-9)
    model.port_mix("fixed", 2024)["TCP/443"] = 0  # a copy
    assert model.port_mix("fixed", 2024)["TCP/443"] == 53.8


def test_mobile_uploads_take_the_shape_of_downloads() -> None:
    for weekend in (False, True):
        assert model.hour_shape("mobile", 1, weekend=weekend) == model.hour_shape("mobile", 2, weekend=weekend)
        assert model.hour_shape("fixed", 1, weekend=weekend) != model.hour_shape("fixed", 2, weekend=weekend)


def test_the_file_is_packaged_beside_the_module() -> None:
    assert len(json.loads(model.MODEL.read_text())["daily_volume"]["rows"]) == 56

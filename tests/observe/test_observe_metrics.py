from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from muxi.observe.metrics import Family, render


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Read by the official library: each series by its name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_counters_and_gauges() -> None:
    requests = Family("muxi_requests_total", "counter", "Requests.")
    requests.add(3, formation="a-bot")
    requests.add(0.25, formation="b-bot")
    up = Family("muxi_up", "gauge", "Whether it is up.")
    up.add(True)
    assert render((requests, up)) == (
        "# HELP muxi_requests_total Requests.\n"
        "# TYPE muxi_requests_total counter\n"
        'muxi_requests_total{formation="a-bot"} 3\n'
        'muxi_requests_total{formation="b-bot"} 0.25\n'
        "# HELP muxi_up Whether it is up.\n"
        "# TYPE muxi_up gauge\n"
        "muxi_up 1\n"
    )


def test_what_has_no_series_is_left_out() -> None:
    assert render([Family("muxi_nothing", "gauge", "Nothing.")]) == ""


def test_a_histogram_counts_up_to_each_bound() -> None:
    family = Family("muxi_seconds", "histogram", "Times.")
    family.add_histogram((0.1, 1.0), (2, 0, 3), 42.5, formation="a-bot")
    name = (("formation", "a-bot"),)
    assert samples(render([family])) == {
        ("muxi_seconds_bucket", (("formation", "a-bot"), ("le", "0.1"))): 2,
        ("muxi_seconds_bucket", (("formation", "a-bot"), ("le", "1"))): 2,
        ("muxi_seconds_bucket", (("formation", "a-bot"), ("le", "+Inf"))): 5,
        ("muxi_seconds_sum", name): 42.5,
        ("muxi_seconds_count", name): 5,
    }


def test_bounds_and_counts_must_fit() -> None:
    with pytest.raises(ValueError, match="zip"):
        Family("muxi_seconds", "histogram", "Times.").add_histogram((0.1,), (1,), 1.0)


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029")),
    st.floats(),
)
def test_any_label_and_number_is_read_back(label: str, value: float) -> None:
    family = Family("muxi_any", "gauge", "Any\nthing \\ at all.")
    family.add(value, formation=label)
    ((key, found),) = samples(render([family])).items()
    assert key == ("muxi_any", (("formation", label),))
    assert found == value or (math.isnan(found) and math.isnan(value))

"""The pure parts of the measurements: figures, goals, tables, reading what the load prints. No timing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.cases.catalogue import catalogue
from bench.cases.latency import Latency
from bench.cases.requests import Requests
from bench.children import BenchError
from bench.figures import Figures, Metric, percentile, tail
from bench.load.plain import content_length
from bench.load.wrk import read_result
from bench.machine import divide_cores, most_streams
from bench.peers.peer import Door, Peer, through
from bench.plan import FULL, QUICK
from bench.reach import GO, NGINX, Goal, goals
from bench.report import Result, document, file_name, markdown, table, verdicts
from bench.rounds import measure, rotated
from bench.stage import PEERS, Stage
from bench.upstream.serve_live import Chunks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.figures import Sample
    from bench.plan import Plan

ROW = "requests c=32"
RATE = Metric("rate", "requests/s")


def requests_figures(ours: list[float], gos: list[float], nginxs: list[float]) -> Figures:
    figures = Figures()
    for peer, rates in (("muxi", ours), (GO, gos), (NGINX, nginxs)):
        for turn, rate in enumerate(rates):
            figures.add(ROW, peer, turn, {"rate": rate, "p50": 10.0, "p99": 20.0, "cpu": 5.0})
    return figures


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([7.0], 0.5, 7.0),
        ([7.0], 0.99, 7.0),
        ([3.0, 1.0, 2.0], 0.5, 2.0),
        ([float(n) for n in range(1, 101)], 0.99, 99.0),
        ([float(n) for n in range(1, 101)], 1.0, 100.0),
        ([float(n) for n in range(1, 101)], 0.0, 1.0),
    ],
)
def test_percentile_is_the_nearest_rank(values: list[float], share: float, expected: float) -> None:
    assert percentile(values, share) == expected


@given(st.lists(st.floats(allow_nan=False), min_size=1), st.floats(min_value=0, max_value=1))
def test_percentile_is_a_value_that_enough_others_do_not_exceed(values: list[float], share: float) -> None:
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values)


def test_tail_names_its_percentiles() -> None:
    assert tail([1.0, 2.0, 3.0], "delay_") == {"delay_p50": 2.0, "delay_p99": 3.0}


def test_ratio_is_the_median_of_the_rounds_and_not_of_the_values() -> None:
    figures = requests_figures([10, 100, 30], [10, 50, 10], [1, 1, 1])
    assert figures.ratio(ROW, "muxi", GO, "rate") == 2.0
    assert figures.value(ROW, "muxi", RATE) == 30


def test_ratio_passes_over_rounds_that_only_one_has_and_over_zeros() -> None:
    figures = requests_figures([10, 20], [0, 10, 99], [])
    assert figures.ratio(ROW, "muxi", GO, "rate") == 2.0
    assert figures.ratio(ROW, "muxi", NGINX, "rate") is None


def test_difference_is_taken_round_by_round() -> None:
    figures = requests_figures([10, 20, 30], [1, 2, 28], [])
    assert figures.difference(ROW, "muxi", GO, "rate") == 9


def test_a_metric_may_be_the_worst_of_all_rounds() -> None:
    figures = requests_figures([1, 9, 2], [], [])
    assert figures.value(ROW, "muxi", Metric("rate", "", combine=max)) == 9
    assert figures.value(ROW, "muxi", Metric("other", "")) is None


@pytest.mark.parametrize(
    ("goal", "verdict"),
    [
        (Goal(ROW, "rate", "at least", 1.5, GO), "reached"),
        (Goal(ROW, "rate", "at least", 1.6, GO), "not reached"),
        (Goal(ROW, "rate", "at most", 1.4, GO), "not reached"),
        (Goal(ROW, "rate", "at most", 1.5, GO, strictly=True), "not reached"),
        (Goal(ROW, "rate", "at most", 1.6, GO, strictly=True), "reached"),
        (Goal(ROW, "p99", "at most", 20.0), "reached"),
        (Goal(ROW, "p99", "at most", 19.9), "not reached"),
        (Goal(ROW, "rate", "at least", 1.0, NGINX), "no figure"),
        (Goal("other", "rate", "at least", 1.0), "no figure"),
    ],
)
def test_a_goal_is_judged_by_its_limit(goal: Goal, verdict: str) -> None:
    assert goal.verdict(requests_figures([15, 15], [10, 10], [])) == verdict


def test_every_goal_is_for_a_row_and_a_figure_that_a_case_has() -> None:
    metrics = {metric.key for case in catalogue(10_000) for metric in case.metrics}
    assert {goal.key for goal in goals()} <= metrics
    streams = {goal.row for goal in goals() if goal.row.startswith("streams")}
    assert streams == {f"streams {count}" for count in FULL.streams}
    assert len({str(goal) for goal in goals()}) == len(goals())


def test_the_quick_plan_is_the_smaller_one() -> None:
    assert QUICK.rounds < FULL.rounds
    assert FULL.rounds >= 5
    assert QUICK.bulk < FULL.bulk == 1 << 30


def test_verdicts_show_what_is_not_reached_in_bold() -> None:
    figures = requests_figures([15], [10], [])
    text = verdicts([(Goal(ROW, "rate", "at least", limit, GO), figures) for limit in (1.0, 2.0)])
    assert text.splitlines()[2:] == [
        "| requests c=32: rate at least 1 times go's | 1.50 | reached |",
        "| requests c=32: rate at least 2 times go's | 1.50 | **not reached** |",
    ]


def test_a_table_has_a_line_a_peer_and_our_ratios() -> None:
    figures = requests_figures([15_000], [10_000], [30_000])
    figures.excuse("requests", "caddy", "caddy is not\ninstalled")
    figures.excuse("requests", "haproxy", "a | b")
    figures.excuse("requests", GO, "it failed, but later, in another row")
    lines = table(Requests(32), ROW, figures, ["muxi", GO, NGINX, "haproxy", "caddy"]).splitlines()
    assert lines[2] == "| muxi | 15,000 | 10 | 20 | 5.0 |"
    assert lines[5] == "| haproxy | a / b | - | - | - |"
    assert lines[6] == "| caddy | caddy is not installed | - | - | - |"
    assert lines[7:] == [
        "| muxi ÷ go | 1.50 | 1.00 | 1.00 | 1.00 |",
        "| muxi ÷ nginx | 0.50 | 1.00 | 1.00 | 1.00 |",
    ]
    assert len({line.count("|") for line in lines}) == 1


def test_added_latency_is_shown_beside_the_whole() -> None:
    figures = Figures()
    figures.add("latency", "direct", 0, {"p50": 10, "p99": 20})
    figures.add("latency", "muxi", 0, {"p50": 15, "p99": 50})
    lines = table(Latency(), "latency", figures, ["direct", "muxi"]).splitlines()
    assert lines[3] == "| muxi | 15.0 | 5.0 | 50.0 | 30.0 |"


def a_result(figures: Figures) -> Result:
    facts = {"system": "Linux 6.1 x86_64", "python": "CPython 3.11.7"}
    return Result(
        "2026-01-02 03:04", facts, QUICK, [Requests(32)], ["muxi", GO, NGINX], {"requests": figures}
    )


def test_the_written_result_has_facts_verdicts_and_tables() -> None:
    text = markdown(a_result(requests_figures([15], [10], [30])))
    assert "- python: CPython 3.11.7" in text
    assert "| requests c=32: rate at least 1.5 times go's | 1.50 | reached |" in text
    assert "### requests c=32" in text
    assert "streams" not in text


def test_a_result_without_any_sample_says_why() -> None:
    figures = Figures()
    figures.excuse("requests", "muxi", "wrk is not installed")
    text = markdown(a_result(figures))
    assert "No case was run for which there is a goal." in text
    assert "| muxi | wrk is not installed | - | - | - |" in text


def test_the_document_keeps_every_sample() -> None:
    found = json.loads(json.dumps(document(a_result(requests_figures([15, 16], [10, 10], [])))))
    assert [s["rate"] for s in found["samples"] if s["peer"] == "muxi"] == [15, 16]
    assert {"goal", "measured", "verdict"} == set(found["reach"][0])


def test_a_result_is_named_by_day_and_machine() -> None:
    name = file_name("2026-01-02 03:04", {"system": "Linux 6.1 x86_64", "python": "CPython 3.11.7"})
    assert name == "2026-01-02T0304-linux-6-1-x86-64-python-3-11-7"


def test_cores_are_divided_if_there_is_more_than_one_and_waking_is_cheap() -> None:
    apart = divide_cores({2, 3, 5}, "auto", 5e-6)
    assert apart.proxy == {2}
    assert apart.load == {3, 5}
    assert divide_cores({0, 1}, "auto", 1.0).load == {0}
    assert divide_cores({0, 1}, "apart", 1.0).load == {1}
    assert divide_cores({4}, "apart", 5e-6).load == {4}
    assert divide_cores({0, 1}, "free", 5e-6).proxy == {0, 1}


def test_no_more_streams_than_descriptors_allow() -> None:
    assert most_streams(20_000) == 9_288
    assert most_streams(100) == 0


def test_what_wrk_prints_is_read_from_its_last_line() -> None:
    good = {"requests": 500, "duration": 2_000_000, "p50": 10, "p99": 30}
    nothing = dict.fromkeys(("connect", "read", "write", "status", "timeout"), 0)
    found = read_result("Running 2s test\n\n" + json.dumps({**good, **nothing}) + "\n")
    assert found == {"rate": 250.0, "count": 500, "p50": 10, "p99": 30}
    with pytest.raises(BenchError, match="status"):
        read_result(json.dumps({**good, **nothing, "status": 3}))
    with pytest.raises(BenchError):
        read_result(json.dumps({**good, **nothing, "requests": 0}))


def test_content_length_is_found_whatever_its_case() -> None:
    assert content_length(b"HTTP/1.1 200 OK\r\ncontent-LENGTH: 12\r\nA: b") == 12
    assert content_length(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked") is None


def test_a_door_puts_its_prefix_before_the_service_s_own_path() -> None:
    assert Door(80, "/api/x").url("/small") == "http://127.0.0.1:80/api/x/small"
    assert Door(80).path("/small") == "/small"
    assert through("go", 80, 1).live.prefix != through("go", 80, 1).static.prefix


def test_another_peer_is_first_in_each_round() -> None:
    peers = [Peer(name, Door(1), Door(1)) for name in "abc"]
    firsts = [[peer.name for peer in rotated(peers, turn)] for turn in range(4)]
    assert firsts == [["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"], ["a", "b", "c"]]
    assert rotated([], 3) == []


class StagedCase:
    name = "staged"
    about = "notes which stage it runs on"
    metrics: tuple[Metric, ...] = (Metric("stage", "stage"),)

    def __init__(self, *, fresh: bool) -> None:
        self.fresh = fresh

    def measure(self, peer: Peer, _plan: Plan) -> Iterator[tuple[str, Sample]]:
        if peer.name == "broken":
            raise BenchError("it broke")
        yield "row", {"stage": float(peer.static.port)}
        if peer.name == "weak":
            raise BenchError("it could not go on")


class Stages:
    """Stands for the real stage: its peer's port is the number of the set-up."""

    def __init__(self) -> None:
        self.begun = self.ended = 0

    def __call__(self) -> Stages:
        return self

    def __enter__(self) -> Stage:
        self.begun += 1
        doors = Door(self.begun), Door(self.begun)
        return Stage(
            [Peer("good", *doors), Peer("broken", *doors), Peer("weak", *doors)],
            {"absent": "it is not installed"},
        )

    def __exit__(self, *_exc: object) -> None:
        self.ended += 1


@pytest.mark.parametrize(("fresh", "stages"), [(False, {1.0}), (True, {1.0, 2.0, 3.0, 4.0, 5.0})])
def test_a_fresh_case_has_a_new_stage_each_round(fresh: bool, stages: set[float]) -> None:
    set_up = Stages()
    figures = measure([StagedCase(fresh=fresh)], FULL, shared=set_up, fresh=set_up)["staged"]
    assert {sample["stage"] for sample in figures.samples["row", "good"].values()} == stages
    assert figures.missing == {
        ("staged", "broken"): "it broke",
        ("staged", "weak"): "it could not go on",
        ("staged", "absent"): "it is not installed",
    }
    assert ("row", "weak") in figures.samples
    assert ("row", "broken") not in figures.samples
    assert set_up.begun == set_up.ended == len(stages)


def test_the_shared_stage_has_ended_before_a_fresh_one_begins() -> None:
    shared, fresh = Stages(), Stages()

    class Later(Stages):
        def __enter__(self) -> Stage:
            assert shared.ended == 1
            return fresh.__enter__()

    measure([StagedCase(fresh=False), StagedCase(fresh=True)], QUICK, shared=shared, fresh=Later())
    assert (shared.begun, fresh.begun) == (1, 1)


def test_all_peers_can_be_chosen_and_are_told_apart() -> None:
    assert len(set(PEERS)) == len(PEERS) == 6
    assert PEERS[:2] == ("direct", "muxi")


@given(sizes=st.lists(st.integers(1, 300)), step=st.integers(1, 50))
def test_the_upload_s_chunks_are_counted_however_they_are_split(sizes: list[int], step: int) -> None:
    counter = Chunks()
    body = b"".join(b"%x\r\n%b\r\n" % (size, b"\n" * size) for size in sizes) + b"0\r\n\r\n"
    for start in range(0, len(body), step):
        assert not counter.done or start >= len(body) - 4
        counter.feed(body[start : start + step])
    assert counter.done
    assert counter.total == sum(sizes)

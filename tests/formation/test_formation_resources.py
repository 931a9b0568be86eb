"""A manifest's `resources:` block: read strictly, held within the server's maxima, made limits."""

# ruff: noqa: RUF001 - ranges are written with the dash that belongs there

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxi.config.limits import FormationLimits
from muxi.errors import RequestError
from muxi.formation.manifest import parse_manifest
from muxi.formation.resources import ResourceOptions, check_resources, process_limits
from muxi.process.limits import NO_LIMITS, Limits

M, G = 1024**2, 1024**3
SERVER = FormationLimits(max_memory=1 * G, max_cpu=2.0, max_processes=100, max_open_files=4096)


def options_of(text: str) -> ResourceOptions:
    return parse_manifest(f"id: hello\n{text}".encode(), "formation.yaml", ("app.py",)).resources


def problems_of(text: str) -> list[str]:
    with pytest.raises(RequestError) as caught:
        options_of(text)
    problems = caught.value.details["problems"]
    assert isinstance(problems, list)
    return problems


@pytest.mark.parametrize("text", ["", "resources:", "resources: {}", "resources: {memory: }"])
def test_a_manifest_that_says_nothing(text: str) -> None:
    assert options_of(text) == ResourceOptions()


def test_a_server_that_says_nothing_limits_nothing() -> None:
    assert process_limits(ResourceOptions(), FormationLimits()) == NO_LIMITS


def test_a_full_block() -> None:
    options = options_of(
        "resources: {memory: 512M, memory_soft: 0.25G, cpu: 1.5, processes: 50, open_files: 1024}"
    )
    assert process_limits(options, SERVER) == Limits(512 * M, 256 * M, 1.5, 50, 1024)


def test_defaults_of_the_server_stand_where_the_manifest_says_nothing() -> None:
    config = replace(
        SERVER,
        default_memory=256 * M,
        default_memory_soft=200 * M,
        default_cpu=0.5,
        default_processes=40,
        default_open_files=512,
    )
    assert process_limits(ResourceOptions(), config) == Limits(256 * M, 200 * M, 0.5, 40, 512)
    assert process_limits(ResourceOptions(memory=300 * M, cpu=1.0), config) == Limits(
        300 * M, 200 * M, 1.0, 40, 512
    )


def test_without_a_default_the_maximum_holds() -> None:
    assert process_limits(ResourceOptions(), SERVER) == Limits(1 * G, 0, 2.0, 100, 4096)


def test_a_maximum_lowered_since_the_deploy_holds() -> None:
    wanted = ResourceOptions(memory=4 * G, memory_soft=3 * G, cpu=8.0)
    assert process_limits(wanted, SERVER) == Limits(1 * G, 0, 2.0, 100, 4096)


def test_a_default_above_the_maximum_is_cut() -> None:
    assert process_limits(ResourceOptions(), replace(SERVER, default_memory=8 * G)).memory == 1 * G


def test_no_default_limit_can_be_left_by_asking_for_none() -> None:
    assert process_limits(ResourceOptions(memory=0), FormationLimits(default_memory=G)).memory == 0
    assert process_limits(ResourceOptions(memory=0), SERVER).memory == G


@pytest.mark.parametrize(
    ("block", "problem"),
    [
        ("resources: 512M", "line 2: resources must be a mapping of names to values"),
        ("resources: {memory: lots}", 'resources.memory "lots" is not a size'),
        ("resources: {memory: 512}", 'resources.memory "512" is out of range; allowed: 4M or more'),
        ("resources: {memory: -1}", "resources.memory"),
        ("resources: {cpu: many}", 'resources.cpu "many" is not such a number'),
        ("resources: {processes: 1.5}", 'resources.processes "1.5" is not a whole number'),
        ("resources: {open_files: 3}", "resources.open_files 3 is out of range; allowed: 16–"),
        ("resources: {mem: 1G}", "resources.mem is not known; did you mean memory?"),
        ("resources: {memory: 1G, memory_soft: 1G}", "resources.memory_soft must be less than memory"),
    ],
)
def test_a_bad_value_is_named_with_its_line(block: str, problem: str) -> None:
    (found,) = problems_of(block)
    assert problem in found
    assert found.startswith("line 2: ")


def test_every_problem_is_listed() -> None:
    assert len(problems_of("resources: {memory: x, cpu: y, processes: z, open_files: w, gpu: 1}")) == 5


def test_more_than_the_server_allows_is_refused_all_at_once() -> None:
    wanted = ResourceOptions(memory=2 * G, cpu=4.0, processes=101, open_files=0)
    with pytest.raises(RequestError) as caught:
        check_resources(wanted, SERVER)
    assert caught.value.code == "LimitExceeded"
    assert caught.value.stage == "validating"
    assert caught.value.details["problems"] == [
        "resources.memory: 2G is more than this server allows, 1G (its formations.max_memory)",
        "resources.cpu: 4 is more than this server allows, 2 (its formations.max_cpu)",
        "resources.processes: 101 is more than this server allows, 100 (its formations.max_processes)",
        (
            "resources.open_files: no limit is more than this server allows, 4096 "
            "(its formations.max_open_files)"
        ),
    ]


def test_a_soft_limit_that_is_never_reached_is_refused() -> None:
    with pytest.raises(RequestError, match=r"memory_soft: 2G is never reached, .* killed at 1G"):
        check_resources(ResourceOptions(memory_soft=2 * G), SERVER)


@given(
    st.builds(
        ResourceOptions,
        memory=st.none() | st.integers(4 * M, 4 * G),
        cpu=st.none() | st.floats(0.01, 8),
        processes=st.none() | st.integers(1, 300),
        open_files=st.none() | st.integers(16, 8192),
    )
)
def test_what_is_allowed_is_given_as_asked(options: ResourceOptions) -> None:
    try:
        check_resources(options, SERVER)
    except RequestError:
        return
    given_limits = process_limits(options, SERVER)
    for name in ("memory", "cpu", "processes", "open_files"):
        wanted = getattr(options, name)
        assert wanted is None or getattr(given_limits, name) == wanted

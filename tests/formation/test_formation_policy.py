"""A manifest's `proxy:` block: read strictly, held within the server's limits, made a route's policy."""

# ruff: noqa: RUF001 - ranges are written with the dash that belongs there

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from muxi.config.proxy import FORMATION_KEYS, ProxyConfig
from muxi.errors import RequestError
from muxi.formation.manifest import parse_manifest
from muxi.formation.policy import CAPPED, ProxyOptions, check_options, route_policy
from muxi.registry.routes import DEFAULT_POLICY, RoutePolicy


def options_of(text: str) -> ProxyOptions:
    return parse_manifest(f"id: hello\n{text}".encode(), "formation.yaml", ("app.py",)).proxy


def problems_of(text: str) -> list[str]:
    with pytest.raises(RequestError) as caught:
        options_of(text)
    problems = caught.value.details["problems"]
    assert isinstance(problems, list)
    return problems


def test_every_option_is_a_key_and_a_setting() -> None:
    assert [item.name for item in fields(ProxyOptions)] == list(FORMATION_KEYS)
    assert set(FORMATION_KEYS.values()) <= {item.name for item in fields(ProxyConfig)}
    assert set(CAPPED) <= FORMATION_KEYS.keys()


def test_every_field_of_a_policy_can_be_chosen() -> None:
    names = {"max_body" if name == "max_body_size" else name for name in FORMATION_KEYS}
    assert names == {item.name for item in fields(RoutePolicy)}


@pytest.mark.parametrize("text", ["", "proxy:", "proxy: {}", "proxy: {cors: }"])
def test_a_manifest_that_says_nothing(text: str) -> None:
    assert options_of(text) == ProxyOptions()


def test_a_full_block() -> None:
    options = options_of("""
proxy:
  max_concurrent: 20
  max_body_size: 10M
  rate: 0.5
  burst: 5
  hold_requests: 7
  hold_timeout: 2m
  stream_ping: 15s
  stream_idle_timeout: 1h
  response_idle_timeout: 90
  tunnel_idle_timeout: 500ms
  on_disconnect: continue
  continue_timeout: 20m
  cors: no
""")
    assert route_policy(options, ProxyConfig()) == RoutePolicy(
        max_concurrent=20,
        max_body=10 * 1024**2,
        rate=0.5,
        burst=5,
        hold_requests=7,
        hold_timeout=120.0,
        stream_ping=15.0,
        stream_idle_timeout=3600.0,
        response_idle_timeout=90.0,
        tunnel_idle_timeout=0.5,
        on_disconnect="continue",
        continue_timeout=1200.0,
        cors=False,
    )


def test_the_server_and_the_routing_table_have_the_same_defaults() -> None:
    assert route_policy(ProxyOptions(), ProxyConfig()) == DEFAULT_POLICY


def test_the_servers_settings_stand_where_a_manifest_says_nothing() -> None:
    config = ProxyConfig(
        max_concurrent_per_formation=9, cors=False, hold_timeout=1.0, max_body_size=77, rate=3.0
    )
    policy = route_policy(ProxyOptions(hold_timeout=5.0), config)
    assert (policy.max_concurrent, policy.cors, policy.max_body, policy.rate) == (9, False, 77, 3.0)
    assert policy.hold_timeout == 5.0


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("proxy: {hold_timout: 1}", "line 2: proxy.hold_timout is not known; did you mean hold_timeout?"),
        ("proxy: {xyzzy: 1}", "line 2: proxy.xyzzy is not known; known are max_concurrent, "),
        ("proxy: {max_connections: 1}", "proxy.max_connections is not known"),
        ("proxy:\n  rate: fast", 'line 3: proxy.rate "fast" is not such a number; allowed: 0–1000000'),
        ("proxy: {rate: -1}", "proxy.rate"),
        ("proxy: {burst: 1.5}", "proxy.burst"),
        ("proxy: {max_body_size: big}", "proxy.max_body_size"),
        ("proxy: {hold_timeout: 2h}", "proxy.hold_timeout"),
        ("proxy: {continue_timeout: 0}", "proxy.continue_timeout"),
        ("proxy: {on_disconnect: wait}", "allowed: cancel, continue"),
        ("proxy: {cors: maybe}", "proxy.cors"),
        ("proxy: {cors: [a]}", "proxy.cors must be a single value"),
        ("proxy: 5", "proxy must be a mapping"),
        ("proxy: [cors]", "proxy must be a mapping"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, problem: str) -> None:
    (found,) = problems_of(text)
    assert problem in found


def test_all_problems_are_told_at_once() -> None:
    assert len(problems_of("proxy: {rate: x, burst: y, nonsense: 1}\nstop_timeout: soon")) == 4


SERVER = ProxyConfig(max_concurrent_per_formation=10, max_body_size=1024**2, rate=5.0)


@pytest.mark.parametrize(
    "options",
    [
        ProxyOptions(),
        ProxyOptions(max_concurrent=10, max_body_size=1024**2, rate=5.0),
        ProxyOptions(max_concurrent=1, max_body_size=1, rate=0.1),
        ProxyOptions(burst=1000, hold_timeout=3600.0, hold_requests=100_000),
    ],
)
def test_what_is_within_the_servers_limits_is_allowed(options: ProxyOptions) -> None:
    check_options(options, SERVER)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (ProxyOptions(max_concurrent=11), "proxy.max_concurrent: 11 is more than this server allows, 10"),
        (ProxyOptions(max_concurrent=0), "no limit is more than this server allows, 10"),
        (ProxyOptions(max_body_size=2 * 1024**2), "2M is more than this server allows, 1M"),
        (ProxyOptions(rate=5.5), "5.5 is more than this server allows, 5 (its proxy.rate)"),
    ],
)
def test_what_is_beyond_them_is_refused_and_cut_where_it_runs_already(
    options: ProxyOptions, said: str
) -> None:
    with pytest.raises(RequestError) as caught:
        check_options(options, SERVER)
    assert said in caught.value.message
    assert (caught.value.code, caught.value.stage) == ("LimitExceeded", "validating")
    assert route_policy(options, SERVER) == route_policy(ProxyOptions(), SERVER)


def test_without_limits_of_the_server_everything_is_allowed() -> None:
    options = ProxyOptions(max_concurrent=0, max_body_size=0, rate=0.0)
    check_options(options, ProxyConfig())
    assert route_policy(replace(options, rate=100.0), ProxyConfig()).rate == 100.0

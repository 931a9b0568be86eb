"""How a formation is asked how it is: the server's settings, and what its manifest says instead."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from muxi.errors import RequestError
from muxi.formation.manifest import parse_manifest
from muxi.process.health import HealthCheck, Liveness, Readiness, StartUp
from muxi.runtime.program import HealthOptions, ProbeOptions
from tests.formation.test_fleet import House, configuration

if TYPE_CHECKING:
    from pathlib import Path

BLOCK = """
id: agent
command: [x]
health:
  path: /ready
  timeout: 2s
  interval: 500ms
  startup_timeout: 5m
  unhealthy_threshold: 5
  readiness: {interval: 20s, timeout: 4s}
  liveness: {path: /alive, interval: 15s, timeout: 3s, threshold: 0, grace: 2m}
"""


def read(text: str) -> HealthOptions:
    return parse_manifest(text.encode(), "formation.afs", ()).health


def test_a_block_says_what_differs_for_each_question() -> None:
    options = read(BLOCK)
    assert options.liveness == ProbeOptions("/alive", timeout=3.0, interval=15.0, threshold=0, grace=120.0)
    assert options.over(HealthCheck()) == HealthCheck(
        start_up=StartUp(paths=("/ready",), interval=0.5, timeout=2.0, budget=300.0),
        readiness=Readiness(paths=("/ready",), interval=20.0, timeout=4.0, threshold=5),
        liveness=Liveness(paths=("/alive",), interval=15.0, timeout=3.0, threshold=0, grace=120.0),
    )


def test_what_it_does_not_say_is_the_servers() -> None:
    defaults = HealthCheck(
        start_up=StartUp(budget=7.0), readiness=Readiness(threshold=9), liveness=Liveness(grace=5.0)
    )
    assert read("id: agent\ncommand: [x]\n").over(defaults) == defaults
    only_path = read("id: agent\ncommand: [x]\nhealth: /ready\n").over(defaults)
    assert only_path.start_up == replace(defaults.start_up, paths=("/ready",))
    assert only_path.readiness == replace(defaults.readiness, paths=("/ready",))
    assert only_path.liveness == defaults.liveness


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("health: {retries: 3}", "health.retries is not known"),
        ("health: {unhealthy_threshold: 0}", "health.unhealthy_threshold 0 is out of range"),
        ("health: {readiness: {threshold: 0}}", "health.readiness.threshold 0 is out of range"),
        ("health: {readiness: {grace: 5s}}", "health.readiness.grace is not known"),
        ("health: {liveness: {grace: never}}", "health.liveness.grace"),
        ("health: {liveness: /alive}", "health.liveness must be a mapping"),
    ],
)
def test_what_is_wrong_is_named(line: str, problem: str) -> None:
    with pytest.raises(RequestError, match=problem):
        read(f"id: agent\ncommand: [x]\n{line}\n")


def test_the_servers_settings_become_the_questions(tmp_path: Path) -> None:
    config = configuration(
        tmp_path, health_check_interval=11.0, health_check_timeout=2.5, unhealthy_threshold=4
    )
    check = House(config).facilities.health_check()
    assert check.start_up == StartUp(interval=0.05, timeout=2.5, budget=30.0)
    assert check.readiness == Readiness(interval=11.0, timeout=2.5, threshold=4)
    assert check.liveness == Liveness()


def test_without_a_health_check_a_start_need_not_prove_itself(tmp_path: Path) -> None:
    config = configuration(tmp_path)
    deployment = config.formations.deployment
    check = replace(deployment.health_check, enabled=False, endpoint="/ready")
    formations = replace(config.formations, deployment=replace(deployment, health_check=check))
    made = House(replace(config, formations=formations)).facilities.health_check()
    assert made.start_up.paths == ()
    assert made.readiness.paths == ("/ready",)


def test_a_path_for_liveness_is_the_servers_to_name_too(tmp_path: Path) -> None:
    config = configuration(tmp_path)
    living = replace(config.formations.liveness, endpoint="/alive", threshold=2)
    made = House(configuration(tmp_path, liveness=living)).facilities.health_check()
    assert made.liveness == Liveness(paths=("/alive",), threshold=2)


def test_the_restart_policy_is_that_of_the_configuration(tmp_path: Path) -> None:
    config = configuration(
        tmp_path,
        auto_restart=False,
        max_restarts=3,
        restart_delay=2.0,
        max_restart_delay=20.0,
        restart_window=100.0,
        restart_reset=50.0,
        crash_loop_interval=70.0,
    )
    policy = House(config).facilities.restart_policy()
    assert (policy.auto_restart, policy.max_restarts, policy.delay) == (False, 3, 2.0)
    assert (policy.max_delay, policy.window, policy.reset_after) == (20.0, 100.0, 50.0)
    assert policy.loop_interval == 70.0

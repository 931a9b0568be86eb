from __future__ import annotations

from muxi.registry.routes import RouteTable, Target


def test_a_published_route_is_found_by_the_bytes_of_its_id() -> None:
    table = RouteTable()
    target = Target("127.0.0.1", 8000)
    table.publish("my-bot", "running", target)
    route = table.live[b"my-bot"]
    assert (route.formation_id, route.state, route.target) == ("my-bot", "running", target)


def test_publishing_again_changes_the_same_route_in_place() -> None:
    table = RouteTable()
    table.publish("my-bot", "running", Target("127.0.0.1", 8000))
    route = table.live[b"my-bot"]
    table.publish("my-bot", "crashed", None)
    assert table.live[b"my-bot"] is route
    assert (route.state, route.target) == ("crashed", None)


def test_a_withdrawn_route_is_unknown_and_withdrawing_twice_is_fine() -> None:
    table = RouteTable()
    table.publish("my-bot", "running", None)
    table.withdraw("my-bot")
    table.withdraw("my-bot")
    assert table.live == {}

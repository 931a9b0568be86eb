"""A manifest's `proxy:` block: how the proxy is to treat the formation, within the server's limits.

The names, ranges and meanings are those of the server's own settings (`muxi.config.proxy`), which
stand where a manifest says nothing. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

from muxi.config.proxy import FORMATION_KEYS, ProxyConfig
from muxi.config.schema import declarations
from muxi.config.values import format_size
from muxi.formation.capping import refuse, stricter
from muxi.registry.routes import RoutePolicy

if TYPE_CHECKING:
    from muxi.config.schema import Kind
    from muxi.formation.fields import Fields


#: Settings that a manifest may make stricter but not laxer than the server, which has 0 for "no limit".
CAPPED: Final = ("max_concurrent", "max_body_size", "rate")


@dataclass(frozen=True, slots=True)
class ProxyOptions:
    """What a manifest says under `proxy:`; None leaves the server's setting. Seconds and bytes."""

    max_concurrent: int | None = None
    max_body_size: int | None = None
    rate: float | None = None
    burst: int | None = None
    hold_requests: int | None = None
    hold_timeout: float | None = None
    stream_ping: float | None = None
    stream_idle_timeout: float | None = None
    response_idle_timeout: float | None = None
    tunnel_idle_timeout: float | None = None
    on_disconnect: str | None = None
    continue_timeout: float | None = None
    cors: bool | None = None


def read_options(manifest: Fields) -> ProxyOptions:
    """Read the block; every problem in it is noted, unknown names among them."""
    block = manifest.group("proxy", FORMATION_KEYS)
    if block is None:
        return ProxyOptions()
    kinds = _kinds()
    return ProxyOptions(**{name: block.value(name, kinds[name].parse) for name in kinds})  # type: ignore[arg-type]


def check_options(options: ProxyOptions, config: ProxyConfig) -> None:
    """Refuse what this server does not allow. Raises RequestError, naming each limit."""
    problems = []
    for name in CAPPED:
        wanted, most = getattr(options, name), getattr(config, FORMATION_KEYS[name])
        if wanted is not None and stricter(wanted, most) != wanted:
            show = format_size if name == "max_body_size" else "{:.12g}".format
            asked = show(wanted) if wanted else "no limit"
            problems.append(
                f"proxy.{name}: {asked} is more than this server allows, {show(most)} "
                f"(its proxy.{FORMATION_KEYS[name]})"
            )
    refuse(problems)


def route_policy(options: ProxyOptions, config: ProxyConfig) -> RoutePolicy:
    """Make the policy of a formation's route.

    A limit that the server has lowered since the deploy holds; it is no reason not to start.
    """
    chosen: dict[str, object] = {}
    for item in fields(options):
        wanted, default = getattr(options, item.name), getattr(config, FORMATION_KEYS[item.name])
        if item.name in CAPPED and wanted is not None:
            wanted = stricter(wanted, default)
        chosen[item.name] = default if wanted is None else wanted
    chosen["max_body"] = chosen.pop("max_body_size")
    return RoutePolicy(**chosen)  # type: ignore[arg-type]


def _kinds() -> dict[str, Kind[object]]:
    declared = {one.name: one.key.kind for one in declarations(ProxyConfig)}
    return {name: declared[setting] for name, setting in FORMATION_KEYS.items()}

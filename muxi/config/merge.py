"""Merging what the sources say into one value a key, and checking what only shows in the whole. Pure."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from muxi.config.model import Config, FormationsConfig, KeyPair
from muxi.config.schema import declarations
from muxi.config.sources import KEYS, PORT_RANGE, PORT_RANGE_ENDS, Found, make_pair

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from muxi.config.document import Problem


def merge(layers: Sequence[dict[str, Found]], problems: list[Problem]) -> dict[str, object]:
    """Lay the later sources over the earlier ones; return values by the names of the declarations."""
    merged: dict[str, Found] = {}
    for layer in layers:
        merged |= _without_aliases(layer, problems)
    ends = [merged.pop(name, None) for name in PORT_RANGE_ENDS]
    pairs = [merged.pop(name, None) for name in (KEYS, "auth.key", "auth.secret")]
    chosen = {name: found.value for name, found in merged.items()}
    chosen[PORT_RANGE] = _port_range(ends[0], ends[1], problems)
    chosen[KEYS] = _keys(pairs[0], pairs[1], pairs[2], problems)
    return chosen


def _without_aliases(layer: dict[str, Found], problems: list[Problem]) -> dict[str, Found]:
    """Give every value its declared name; two names of one thing must agree within a source."""
    settled = dict(layer)
    for name, _, key in declarations(Config):
        given = [settled.pop(known) for known in (name, *key.aliases) if known in settled]
        strong = [found for found in given if not found.weak]
        for other in strong[1:]:
            if other.value != strong[0].value:
                values = f"{key.kind.show(other.value)} differs from {key.kind.show(strong[0].value)}"
                text = f"{values} at {strong[0].where}, another name of the same thing; give one of them"
                problems.append(other.problem(text))
        if given:
            settled[name] = (strong or given)[0]
    return settled


def _port_range(start: Found | None, end: Found | None, problems: list[Problem]) -> tuple[int, int]:
    low, high = FormationsConfig().port_range
    if start is not None and isinstance(start.value, int):
        low = start.value
    if end is not None and isinstance(end.value, int):
        high = end.value
    given = start or end
    if given is not None and low >= high:
        text = f"the range begins at {low} and ends at {high}, so no port is in it; allowed: start < end"
        problems.append(given.problem(text))
    return low, high


def _keys(
    listed: Found | None, key_id: Found | None, secret: Found | None, problems: list[Problem]
) -> tuple[KeyPair, ...]:
    """Join the list and the single pair; the same id may not have two secrets."""
    pairs = list(_single(key_id, secret, problems))
    if listed is not None and isinstance(listed.value, tuple):
        pairs += listed.value
    kept: dict[str, KeyPair] = {}
    for pair in pairs:
        if kept.setdefault(pair.id, pair).secret != pair.secret:
            place = listed or key_id
            assert place is not None
            problems.append(place.problem(f"key id {pair.id} is given with two different secrets"))
    return tuple(kept.values())


def _single(key_id: Found | None, secret: Found | None, problems: list[Problem]) -> Iterator[KeyPair]:
    if key_id is not None and secret is None:
        problems.append(key_id.problem("a key without its secret; allowed: both or none"))
    elif secret is not None and key_id is None:
        problems.append(secret.problem("a secret without its key id; allowed: both or none"))
    elif key_id is not None and secret is not None:
        try:
            yield make_pair(str(key_id.value), str(secret.value))
        except ValueError as error:
            problems.append(key_id.problem(str(error)))


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach an address or a name."""
    if host.lower().removesuffix(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

"""A manifest's `resources:` block: what the formation may use of the machine, within the server's maxima.

A manifest that says nothing of a resource gets the server's default for it. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from muxi.config.limits import MOST_CORES, MOST_FILES, MOST_PROCESSES
from muxi.config.values import format_size, parse_decimal, parse_integer, parse_size
from muxi.formation.capping import refuse, stricter
from muxi.process.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from muxi.config.limits import FormationLimits
    from muxi.formation.fields import Fields

_Number = TypeVar("_Number", int, float)

LEAST_MEMORY: Final = 4 * 1024**2
"""With less no program comes up; who writes it has forgotten the unit."""
LEAST_FILES: Final = 16


@dataclass(frozen=True, slots=True)
class ResourceOptions:
    """What a manifest says under `resources:`; None leaves the server's default, 0 asks for no limit."""

    memory: int | None = None
    memory_soft: int | None = None
    cpu: float | None = None
    processes: int | None = None
    open_files: int | None = None


def read_resources(manifest: Fields) -> ResourceOptions:
    """Read the block; every problem in it is noted, unknown names among them."""
    block = manifest.group("resources", ("memory", "memory_soft", "cpu", "processes", "open_files"))
    if block is None:
        return ResourceOptions()
    options = ResourceOptions(
        memory=block.value("memory", _memory),
        memory_soft=block.value("memory_soft", _memory),
        cpu=block.value("cpu", lambda text: parse_decimal(text, 0, MOST_CORES)),
        processes=block.value("processes", lambda text: parse_integer(text, 0, MOST_PROCESSES)),
        open_files=block.value("open_files", _open_files),
    )
    if options.memory and options.memory_soft and options.memory_soft >= options.memory:
        block.complain("memory_soft", "must be less than memory, at which processes are killed")
    return options


def check_resources(options: ResourceOptions, config: FormationLimits) -> None:
    """Refuse what this server does not allow. Raises RequestError, naming each limit."""
    problems = [
        f"resources.{name}: {show(wanted) if wanted else 'no limit'} is more than this server allows, "
        f"{show(most)} (its formations.max_{name})"
        for name, wanted, most, show in _capped(options, config)
        if wanted is not None and stricter(wanted, most) != wanted
    ]
    soft, memory = options.memory_soft, process_limits(options, config).memory
    if soft and memory and soft >= memory and not problems:
        problems.append(
            f"resources.memory_soft: {format_size(soft)} is never reached, for processes are killed "
            f"at {format_size(memory)}"
        )
    refuse(problems)


def process_limits(options: ResourceOptions, config: FormationLimits) -> Limits:
    """Make the limits of a formation's process.

    A maximum that the server has lowered since the deploy holds; it is no reason not to start.
    """
    memory = _chosen(options.memory, config.default_memory, config.max_memory)
    soft = config.default_memory_soft if options.memory_soft is None else options.memory_soft
    return Limits(
        memory=memory,
        memory_soft=0 if memory and soft >= memory else soft,
        cpu=_chosen(options.cpu, config.default_cpu, config.max_cpu),
        processes=_chosen(options.processes, config.default_processes, config.max_processes),
        open_files=_chosen(options.open_files, config.default_open_files, config.max_open_files),
    )


def _memory(text: str) -> int:
    size = parse_size(text)
    return size if size == 0 else parse_size(text, LEAST_MEMORY)


def _open_files(text: str) -> int:
    number = parse_integer(text, 0, MOST_FILES)
    return number if number == 0 else parse_integer(text, LEAST_FILES, MOST_FILES)


def _capped(
    options: ResourceOptions, config: FormationLimits
) -> tuple[tuple[str, float | None, float, Callable[[float], str]], ...]:
    number = "{:.12g}".format
    return (
        ("memory", options.memory, config.max_memory, lambda size: format_size(int(size))),
        ("cpu", options.cpu, config.max_cpu, number),
        ("processes", options.processes, config.max_processes, number),
        ("open_files", options.open_files, config.max_open_files, number),
    )


def _chosen(wanted: _Number | None, default: _Number, most: _Number) -> _Number:
    return stricter(default if wanted is None else wanted, most)

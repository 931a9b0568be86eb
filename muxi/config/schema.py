"""How a configuration key is declared: once, with its type, default, limits and meaning.

The dataclasses of `muxi.config.model` carry these declarations in their fields' metadata. Loading,
checking, `config show` and the written reference all read them from there.
"""

from __future__ import annotations

from dataclasses import Field, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from muxi.config import values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Kind(Generic[T_co]):
    """A type of value: its name for people, how it is read and written, what is allowed.

    `parse` raises ValueError for what is not allowed; `show` takes what `parse` returns. `listed`:
    a file may hold a list of single values as well; `parse` gets them with commas between.
    """

    name: str
    allowed: str
    parse: Callable[[str], T_co]
    show: Callable[[object], str] = str
    listed: bool = False


@dataclass(frozen=True, slots=True)
class Key:
    """What a key's declaration says beside its default.

    `zero` is what an explicit 0 in a file stands for, where 0 itself makes no sense: the original's
    `init` wrote zeros for all it did not set. `unset_with` does the same for a false: it counts
    as not set when all the named neighbours are zero as well. `parts` are keys of the same group
    that may be written in place of this one; `aliases` are other names, dotted from the root.
    `pending`: accepted and checked, but without effect in this version. `fixed`: what it says holds for
    the life of the program; everything else changes when the configuration is read again.
    """

    kind: Kind[object]
    doc: str
    zero: object = None
    unset_with: tuple[str, ...] = ()
    parts: Mapping[str, Kind[object]] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    secret: bool = False
    pending: bool = False
    fixed: bool = False


class Declaration(NamedTuple):
    """A key with its full dotted name and its default."""

    name: str
    default: object
    key: Key


class Row(NamedTuple):
    """A line of the configuration reference."""

    key: str
    type: str
    default: str
    allowed: str
    doc: str
    pending: bool


def key(
    default: T,
    kind: Kind[T],
    doc: str,
    *,
    zero: T | None = None,
    unset_with: tuple[str, ...] = (),
    parts: Mapping[str, Kind[object]] | None = None,
    aliases: tuple[str, ...] = (),
    secret: bool = False,
    pending: bool = False,
    fixed: bool = False,
) -> T:
    """Declare a key, as the default of a dataclass field. See `Key` for the meaning of each."""
    declared = Key(
        kind,
        doc,
        zero=zero,
        unset_with=unset_with,
        parts=parts or {},
        aliases=aliases,
        secret=secret,
        pending=pending,
        fixed=fixed,
    )
    return field(default=default, repr=not secret, metadata={"key": declared})


def group(cls: type[T], doc: str) -> T:
    """Declare a group of keys, as the default of a dataclass field."""
    return field(default_factory=cls, metadata={"group": cls, "doc": doc})


def declarations(cls: type[object], prefix: str = "") -> Iterator[Declaration]:
    """Yield every key below a group, in the order written."""
    for item in _fields(cls):
        if "key" in item.metadata:
            yield Declaration(prefix + item.name, item.default, item.metadata["key"])
        elif "group" in item.metadata:
            yield from declarations(item.metadata["group"], f"{prefix}{item.name}.")


def build(cls: type[T], chosen: Mapping[str, object], prefix: str = "", **extra: object) -> T:
    """Make a group from the values of its keys by dotted name; a key not chosen has its default."""
    arguments: dict[str, object] = dict(extra)
    for item in _fields(cls):
        name = prefix + item.name
        if "key" in item.metadata and name in chosen:
            arguments[item.name] = chosen[name]
        elif "group" in item.metadata:
            inner: type[object] = item.metadata["group"]
            arguments[item.name] = build(inner, chosen, f"{name}.")
    make: Callable[..., T] = cls
    return make(**arguments)


def rows(cls: type[object]) -> Iterator[Row]:
    """Yield the reference of all keys below a group, the alternative ways to write one after it."""
    for name, default, declared in declarations(cls):
        kind = declared.kind
        default_text = "" if declared.secret else kind.show(default)
        yield Row(name, kind.name, default_text, kind.allowed, declared.doc, declared.pending)
        parent = name.rpartition(".")[0]
        for part, part_kind in declared.parts.items():
            doc = f"Another way to write `{name}`."
            yield Row(f"{parent}.{part}", part_kind.name, "", part_kind.allowed, doc, declared.pending)
        for alias in declared.aliases:
            yield Row(alias, kind.name, "", kind.allowed, f"Another name of `{name}`.", declared.pending)


def _fields(cls: type[object]) -> tuple[Field[object], ...]:
    assert is_dataclass(cls)
    return fields(cls)


def boolean() -> Kind[bool]:
    return Kind("boolean", values.ALLOWED_BOOLEAN, values.parse_boolean, lambda on: str(on).lower())


def integer(low: int, high: float = values.UNLIMITED) -> Kind[int]:
    def parse(written: str) -> int:
        return values.parse_integer(written, low, high)

    return Kind("integer", values.integer_range(low, high), parse)


def decimal(low: float, high: float) -> Kind[float]:
    def parse(written: str) -> float:
        return values.parse_decimal(written, low, high)

    return Kind("number", values.decimal_range(low, high), parse, lambda value: f"{value:.12g}")


def networks() -> Kind[tuple[str, ...]]:
    return Kind("list of networks", values.ALLOWED_NETWORKS, values.parse_networks, _show_list, listed=True)


def duration(low: float, high: float = values.UNLIMITED) -> Kind[float]:
    def parse(written: str) -> float:
        return values.parse_duration(written, low, high)

    return Kind("duration", values.duration_range(low, high), parse, _show_duration)


def size(low: int, high: float = values.UNLIMITED) -> Kind[int]:
    def parse(written: str) -> int:
        return values.parse_size(written, low, high)

    return Kind("size", values.size_range(low, high), parse, _show_size)


def text() -> Kind[str]:
    return Kind("text", values.ALLOWED_TEXT, values.parse_text)


def host() -> Kind[str]:
    return Kind("host", values.ALLOWED_HOST, values.parse_host)


def url() -> Kind[str]:
    return Kind("URL", values.ALLOWED_URL, values.parse_url)


def url_path() -> Kind[str]:
    return Kind("URL path", values.ALLOWED_URL_PATH, values.parse_url_path)


def path() -> Kind[Path]:
    def parse(written: str) -> Path:
        return Path(values.parse_text(written))

    return Kind("path", "a path; a relative one begins in the data directory", parse)


def choice(*choices: str) -> Kind[str]:
    def parse(written: str) -> str:
        return values.parse_choice(written, choices)

    return Kind("choice", ", ".join(choices), parse)


def _show_list(value: object) -> str:
    assert isinstance(value, tuple)
    return ", ".join(map(str, value))


def _show_duration(value: object) -> str:
    assert isinstance(value, int | float)
    return values.format_duration(value)


def _show_size(value: object) -> str:
    assert isinstance(value, int)
    return values.format_size(value)

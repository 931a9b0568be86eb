"""Reading single values: durations, sizes, numbers, names. Pure; text in, value out.

Every parser takes the text as it stands in the file, the environment or a flag, and raises
ValueError saying what is wrong with it and what is allowed.
"""

# ruff: noqa: RUF001 - ranges are written with the dash that belongs there

from __future__ import annotations

import ipaddress
import math
import re

UNLIMITED = math.inf

_MILLISECONDS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
_SIZE_UNITS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)(?:I?B)?", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_INTEGER = re.compile(r"[+-]?[0-9]+")
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_LONGEST_NUMBER = 40  # more digits than any value has; Python refuses to read thousands of them
_CREDENTIALS = re.compile(r"://[^/\s'\"]+@")
_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})

ALLOWED_BOOLEAN = "true, false"
ALLOWED_HOST = "an IP address or a host name"
ALLOWED_NETWORKS = "a list of networks or addresses, such as 10.0.0.0/8 or ::1"
ALLOWED_TEXT = "printable text on one line"
ALLOWED_URL = "an address beginning with https:// or http://, without query"
ALLOWED_URL_PATH = "a path beginning with /, without blanks or query"


def shown(text: str) -> str:
    """Quote a value for a message: control characters made visible, long text cut."""
    cut = text if len(text) <= 40 else text[:39] + "…"
    return '"' + "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in cut) + '"'


def parse_boolean(text: str) -> bool:
    """Read true/false, yes/no, on/off, 1/0 in any case."""
    word = text.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError(f"{shown(text)} is neither true nor false; allowed: {ALLOWED_BOOLEAN}")


def parse_integer(text: str, low: int, high: float = UNLIMITED) -> int:
    """Read a whole number from `low` to `high`, both included."""
    allowed = integer_range(low, high)
    word = text.strip()
    if not _INTEGER.fullmatch(word) or len(word) > _LONGEST_NUMBER:
        raise ValueError(f"{shown(text)} is not a whole number; allowed: {allowed}")
    number = int(word)
    if not low <= number <= high:
        raise ValueError(f"{word} is out of range; allowed: {allowed}")
    return number


def parse_decimal(text: str, low: float, high: float) -> float:
    """Read a number such as 2 or 0.5, from `low` to `high`, both included."""
    word = text.strip()
    if not _NUMBER.fullmatch(word) or len(word) > _LONGEST_NUMBER or not low <= float(word) <= high:
        raise ValueError(f"{shown(text)} is not such a number; allowed: {decimal_range(low, high)}")
    return float(word)


def parse_port(text: str) -> int:
    """Read a TCP port; 0 lets the system choose one."""
    return parse_integer(text, 0, 65535)


def parse_duration(text: str, low: float = 0.0, high: float = UNLIMITED) -> float:
    """Read `500ms`, `30s`, `1h30m` or plain seconds, as seconds from `low` to `high`."""
    allowed = duration_range(low, high)
    seconds = _seconds(text.strip())
    if seconds is None:
        raise ValueError(f"{shown(text)} is not a duration such as 30s, 5m or 1h30m; allowed: {allowed}")
    if not low <= seconds <= high:
        raise ValueError(f"{shown(text.strip())} is out of range; allowed: {allowed}")
    return seconds


def _seconds(word: str) -> float | None:
    if len(word) > _LONGEST_NUMBER:
        return None
    if _NUMBER.fullmatch(word):
        return float(word)
    parts = list(_DURATION_PART.finditer(word))
    if not parts or "".join(part.group() for part in parts) != word:
        return None
    return sum(float(part[1]) * _MILLISECONDS[part[2]] for part in parts) / 1000


def parse_size(text: str, low: int = 0, high: float = UNLIMITED) -> int:
    """Read `512K`, `10M`, `10MB`, `1GiB` or plain bytes; all units are powers of 1024."""
    allowed = size_range(low, high)
    word = text.strip()
    match = _SIZE.fullmatch(word)
    if match is None or len(word) > _LONGEST_NUMBER:
        raise ValueError(f"{shown(text)} is not a size such as 512K, 10M or 1G; allowed: {allowed}")
    factor: int = 1024 ** _SIZE_UNITS[match[2].upper()]
    size = int(match[1]) * factor if match[1].isdigit() else int(float(match[1]) * factor)
    if not low <= size <= high:
        raise ValueError(f"{shown(word)} is out of range; allowed: {allowed}")
    return size


def parse_host(text: str) -> str:
    """Read an address to listen on: IPv4, IPv6 (brackets allowed) or a host name."""
    host = text.strip()
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        labels = host.removesuffix(".").split(".")
        # Only digits and dots is a mistyped address, though resolvers take "5" for 0.0.0.5.
        if len(host) <= 253 and all(map(_LABEL.fullmatch, labels)) and not labels[-1].isdigit():
            return host
    raise ValueError(f"{shown(text)} is not a host; allowed: {ALLOWED_HOST}")


def parse_networks(text: str) -> tuple[str, ...]:
    """Read networks and single addresses with commas between, as networks without host bits."""
    found = []
    for word in filter(None, map(str.strip, text.split(","))):
        try:
            found.append(str(ipaddress.ip_network(word)))
        except ValueError as error:
            raise ValueError(
                f"{shown(word)} is not a network{_host_bits(word, error)}; allowed: {ALLOWED_NETWORKS}"
            ) from None
    return tuple(dict.fromkeys(found))


def _host_bits(word: str, error: ValueError) -> str:
    """Name the network that a mistyped one with host bits belongs to; a guess is not taken for it."""
    return f" (did you mean {ipaddress.ip_network(word, strict=False)}?)" if "host bits" in str(error) else ""


def parse_text(text: str) -> str:
    """Read one line of printable text, blanks around it removed."""
    word = text.strip()
    if not word or not word.isprintable():
        raise ValueError(f"{shown(text)} can't be used; allowed: {ALLOWED_TEXT}")
    return word


def parse_url(text: str) -> str:
    """Read the address of a server of files; a slash at its end is removed."""
    word = text.strip().rstrip("/")
    if not re.fullmatch(r"https?://[!-~]+", word, re.IGNORECASE) or "?" in word or "#" in word:
        # Not repeated: it may hold a password.
        raise ValueError(f"this is not a URL that files can come from; allowed: {ALLOWED_URL}")
    return word


def parse_url_path(text: str) -> str:
    """Read a path of a URL such as /v1/health."""
    word = text.strip()
    if not re.fullmatch(r"/[!-~]*", word) or "?" in word or "#" in word:
        raise ValueError(f"{shown(text)} is not a path of a URL; allowed: {ALLOWED_URL_PATH}")
    return word


def parse_choice(text: str, choices: tuple[str, ...]) -> str:
    """Read one of `choices`, in any case."""
    word = text.strip().lower()
    if word not in choices:
        raise ValueError(f"{shown(text)} is unknown; allowed: {', '.join(choices)}")
    return word


def hide_credentials(text: str) -> str:
    """Cover the user and password of every URL in a text."""
    return _CREDENTIALS.sub("://***@", text)


def format_duration(seconds: float) -> str:
    """Write seconds as `parse_duration` reads them, in the largest units that are whole."""
    if seconds != int(seconds):
        milliseconds = round(seconds * 1000, 6)
        return f"{int(milliseconds)}ms" if milliseconds == int(milliseconds) else f"{seconds}"
    hours, rest = divmod(int(seconds), 3600)
    minutes, rest = divmod(rest, 60)
    parts = [f"{n}{unit}" for n, unit in ((hours, "h"), (minutes, "m"), (rest, "s")) if n]
    return "".join(parts) or "0s"


def format_size(size: int) -> str:
    """Write bytes as `parse_size` reads them, in the largest unit that is whole."""
    for unit in "TGMK":
        factor = 1024 ** _SIZE_UNITS[unit]
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)


def integer_range(low: int, high: float = UNLIMITED) -> str:
    return f"{low} or more" if math.isinf(high) else f"{low}–{int(high)}"


def decimal_range(low: float, high: float) -> str:
    return f"{low:.12g}–{high:.12g}"


def duration_range(low: float, high: float = UNLIMITED) -> str:
    least = format_duration(low)
    return f"{least} or more" if math.isinf(high) else f"{least}–{format_duration(high)}"


def size_range(low: int, high: float = UNLIMITED) -> str:
    least = format_size(low)
    return f"{least} or more" if math.isinf(high) else f"{least}–{format_size(int(high))}"

"""Making a `Config`: flags over environment over file over defaults, all of it checked at once."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from muxi.config import sources
from muxi.config.document import MAX_FILE_SIZE, Document, Problem, read_document
from muxi.config.merge import is_loopback, merge
from muxi.config.model import Config, Paths, with_absolute_paths
from muxi.config.schema import build, declarations
from muxi.config.sources import AFTER_FILE, Found
from muxi.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

MOST_PROBLEMS = 100
"""As many are listed; a file with more is probably no configuration."""


class Loaded(NamedTuple):
    """A configuration, and what its operator should know about it, a line each."""

    config: Config
    notes: tuple[str, ...]


def load(
    paths: Paths,
    *,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
    require_key: bool = True,
) -> Loaded:
    """Read and check the configuration. Blocks on the file.

    `flags` are values by dotted key ("server.port"); None counts as not given. A missing file is
    an empty one. With `require_key`, a server that asks for signatures must have a key to check
    them with. Raises ConfigError with every problem of all sources in its `problems`.
    """
    data, mode = _read(paths.config_file)
    document = read_document(data, paths.config_file.name, sources.names())
    problems = document.problems
    in_file = sources.from_file(document, problems)
    in_environment = sources.from_environment(environment or {}, problems)
    in_flags = sources.from_flags(flags or {}, problems)
    chosen = merge([in_file, in_environment, in_flags], problems)
    config = with_absolute_paths(build(Config, chosen, paths=paths))
    if require_key and not problems and config.auth.enabled and not config.auth.keys:
        problems.append(Problem(AFTER_FILE, _no_key(paths.config_file)))
    if config.server.tls.key is not None and config.server.tls.cert is None:
        problems.append(Problem(AFTER_FILE, f"{paths.config_file}: server.tls.key needs server.tls.cert"))
    if problems:
        raise _error(paths.config_file, problems)
    return Loaded(config, tuple(_notes(config, document, in_file, mode)))


def _read(path: Path) -> tuple[bytes, int]:
    """Return a file's content, cut just beyond what is allowed, and its mode."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_SIZE + 1), stat.S_IMODE(os.fstat(file.fileno()).st_mode)
    except FileNotFoundError:
        return b"", 0o600
    except OSError as error:
        problem = f"{path} can't be read: {error.strerror}"
        raise ConfigError(problem, (problem,)) from error


def _no_key(path: Path) -> str:
    return (
        f"{path}: auth.enabled is true, but there is no key to check signatures with; "
        "run `muxi-server init` to make one, or give auth.keys"
    )


def _error(path: Path, problems: list[Problem]) -> ConfigError:
    lines = [problem.text for problem in sorted(problems, key=lambda problem: problem.line)]
    count = "one problem" if len(lines) == 1 else f"{len(lines)} problems"
    if len(lines) > MOST_PROBLEMS:
        lines[MOST_PROBLEMS:] = [f"and {len(lines) - MOST_PROBLEMS} more problems"]
    return ConfigError(f"The configuration has {count} ({path})", tuple(lines))


def _notes(config: Config, document: Document, in_file: Mapping[str, Found], mode: int) -> Iterator[str]:
    secret = {one.name for one in declarations(Config) if one.key.secret} | {"auth.secret"}
    holds_secrets = bool(document.nodes.keys() & secret)
    if os.name == "posix" and mode & 0o077 and holds_secrets:
        path = config.paths.config_file
        yield f"{path} holds secrets and others may open it (mode {mode:04o}); run: chmod 600 {path}"
    if not config.auth.enabled and not is_loopback(config.server.host):
        yield (
            f"auth.enabled is false and the server listens on {config.server.host}: whoever reaches it "
            "can run programs on this machine; set auth.enabled, or server.host to 127.0.0.1"
        )
    if config.server.proxy_protocol == "required" and not config.server.trusted_proxies:
        yield (
            "server.proxy_protocol is required, but server.trusted_proxies is empty: no connection is "
            "expected to begin with its header; name the networks of your load balancers"
        )
    for name, default, key in declarations(Config):
        found = in_file.get(name)
        if key.pending and found is not None and found.value != default:
            yield f"{found.where} is accepted for compatibility; it has no effect in this version"

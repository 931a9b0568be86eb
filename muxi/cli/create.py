"""Making the configuration of a new server, and telling its credentials, once."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from muxi.config.load import load
from muxi.config.model import ServerConfig
from muxi.config.save import new_config, write_config

if TYPE_CHECKING:
    from pathlib import Path
    from typing import TextIO

    from muxi.auth.credentials import KeyPair
    from muxi.config.model import Paths


@dataclass(frozen=True, slots=True)
class Outcome:
    """A configuration as it stands after `init`; `credentials` when they are new, else None."""

    config_file: Path
    server_id: str
    port: int
    host: str
    credentials: KeyPair | None
    replaced: Path | None = None
    """Where the file that was there before has been kept."""

    def as_dict(self) -> dict[str, object]:
        facts: dict[str, object] = {
            "config_file": str(self.config_file),
            "server_id": self.server_id,
            "port": self.port,
            "host": self.host,
            "created": self.credentials is not None,
        }
        if self.credentials is not None:
            facts |= {"key_id": self.credentials.id, "secret": self.credentials.secret}
        if self.replaced is not None:
            facts["replaced"] = str(self.replaced)
        return facts


def create(
    paths: Paths, *, port: int | None = None, host: str | None = None, name: str | None = None
) -> Outcome:
    """Write a new configuration with new credentials, and make the directory for the data.

    A file that is there already is kept beside it under a dated name. Raises OSError.
    """
    default = ServerConfig()
    text, credentials = new_config(port or default.port, host or default.host, name or socket.gethostname())
    replaced = _set_aside(paths.config_file)
    write_config(paths.config_file, text)
    paths.data_dir.mkdir(parents=True, exist_ok=True)
    return outcome(paths, credentials, replaced)


def outcome(paths: Paths, credentials: KeyPair | None, replaced: Path | None = None) -> Outcome:
    """Return what the file says now, whatever the environment says."""
    config = load(paths, require_key=False).config
    return Outcome(
        paths.config_file, config.server_id, config.server.port, config.server.host, credentials, replaced
    )


def print_credentials(made: Outcome, out: TextIO) -> None:
    """Tell what was written, and new credentials: here, and never again."""
    print(f"Configuration: {made.config_file}", file=out)
    print(f"Server ID:     {made.server_id}", file=out)
    print(f"Address:       {made.host}:{made.port}", file=out)
    if made.replaced is not None:
        print(f"The old configuration is kept as {made.replaced}", file=out)
    if made.credentials is not None:
        print("\nCredentials of this server, shown this one time:", file=out)
        print(f"  Key ID: {made.credentials.id}", file=out)
        print(f"  Secret: {made.credentials.secret}", file=out)
        print("They are in the configuration, which only you can read.", file=out)
    print(file=out, flush=True)


def _set_aside(file: Path) -> Path | None:
    if not file.exists():
        return None
    kept = file.with_name(f"{file.name}.{datetime.now(UTC):%Y%m%dT%H%M%S%f}")
    file.replace(kept)
    kept.chmod(0o600)
    return kept

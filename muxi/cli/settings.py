"""What a command works with: the paths of this machine, its configuration, and its server."""

from __future__ import annotations

import os
import shutil
import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from muxi.cli.client import ANSWER_SECONDS, ServerClient
from muxi.config.load import Loaded, load
from muxi.config.paths import find_paths

if TYPE_CHECKING:
    from collections.abc import Mapping

    from muxi.config.model import Config, Paths

ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - where to find such a server


def paths(config_dir: str | None = None, data_dir: str | None = None) -> Paths:
    """Return this machine's paths; the two options count as their environment variables do."""
    chosen = {"MUXI_CONFIG_DIR": config_dir, "MUXI_DATA_DIR": data_dir}
    given = {name: str(Path(value).absolute()) for name, value in chosen.items() if value}
    return find_paths(sys.platform, {**os.environ, **given}, program(), Path.home())


def program() -> Path:
    """Return where this program is installed; the interpreter that runs it does not matter."""
    name = sys.argv[0]
    return Path(shutil.which(name) or name).resolve()


def load_settings(
    found: Paths, flags: Mapping[str, object] | None = None, *, require_key: bool = True
) -> Loaded:
    """Read the configuration. Raises ConfigError with all its problems."""
    return load(found, environment=os.environ, flags=flags, require_key=require_key)


def server_url(config: Config) -> str:
    """Return the address of the configured server as seen from this machine."""
    host = ANY_ADDRESS.get(config.server.host, config.server.host)
    host = f"[{host}]" if ":" in host else host
    scheme = "http" if config.server.tls.cert is None else "https"
    return f"{scheme}://{host}:{config.server.port}"


def server_trust(config: Config) -> ssl.SSLContext | None:
    """Return what to check the configured server's certificate by: that very certificate, if readable.

    The address it is asked at, on this machine, need not be one of its names.
    """
    if config.server.tls.cert is None:
        return None
    trust = ssl.create_default_context()
    trust.check_hostname = False
    trust.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        trust.load_verify_locations(config.server.tls.cert)
    except OSError:
        return None
    return trust


def connect(answer_seconds: float = ANSWER_SECONDS) -> ServerClient:
    """Return a client of the server that this machine's configuration describes."""
    config = load_settings(paths()).config
    key = config.auth.keys[0] if config.auth.enabled and config.auth.keys else None
    url, trust = server_url(config), server_trust(config)
    return ServerClient(url, key, trust=trust, answer_seconds=answer_seconds)

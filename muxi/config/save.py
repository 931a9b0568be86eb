"""Writing config.yaml: a new server's first one, and any text of it, private and in one step."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, NamedTuple

from muxi.auth.credentials import KeyPair, generate
from muxi.config.edit import edit_config, quoted
from muxi.files import PRIVATE_FILE, atomic_write

if TYPE_CHECKING:
    from pathlib import Path

_SERVER_ID = re.compile(r"server-(.+)-[0-9a-f]{8}")

_TEMPLATE = """\
# MUXI Server. What is not written here has its default; `muxi-server config show` shows what holds.
# Durations are written as 30s, 5m or 1h30m, sizes as 512K, 10M or 1G.

server_id: {server_id}

server:
  port: {port}
  host: {host}  # 127.0.0.1 when a proxy on this machine stands in front

auth:
  enabled: true
  # Who may manage this server. To exchange a key, add a second one here, move the clients, remove the first.
  keys:
    - id: {key_id}
      secret: {secret}

formations:
  port_range: [8000, 9000]  # the private ports of formations; the end is not used

logging:
  level: info  # debug, info, warning, error
"""


class NewConfig(NamedTuple):
    """A new file's text, and the credentials in it, which are to be shown once."""

    text: str
    credentials: KeyPair


def new_server_id(name: str) -> str:
    """Make the lasting name of an installation: `server-{name}-{8 hex}`, 16 characters of the name."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:16].strip("-")
    return f"server-{plain or 'host'}-{secrets.token_hex(4)}"


def name_of(server_id: str) -> str | None:
    """Return the name that a server id was made from; None for an id of another shape."""
    match = _SERVER_ID.fullmatch(server_id)
    return match[1] if match else None


def new_config(port: int, host: str, name: str) -> NewConfig:
    """Compose a short file with what people look for, a new server id and new credentials."""
    pair = generate()
    text = _TEMPLATE.format(
        server_id=new_server_id(name), port=port, host=quoted(host), key_id=pair.id, secret=pair.secret
    )
    return NewConfig(text, pair)


def write_config(path: Path, text: str) -> None:
    """Write the file whole, readable by its owner only. Blocks. Raises OSError; the old file stands."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A link stays a link: what it names is replaced.
    atomic_write(path.resolve(), text.encode("utf-8"), PRIVATE_FILE)


def keep_server_id(path: Path, name: str) -> str:
    """Make an id for a server whose file has none, keep it there and return it.

    Blocks. Raises ConfigError when the file can't be changed safely, OSError when not at all.
    """
    text = path.read_bytes().decode("utf-8") if path.exists() else ""
    server_id = new_server_id(name)
    write_config(path, edit_config(text, {"server_id": server_id}))
    return server_id

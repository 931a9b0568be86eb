"""The house's layers hold: imports point down the list, never up, never sideways between neighbours."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "muxi"

# The highest first. Rooms of one layer may not import each other.
LAYERS = (
    ("__main__",),
    ("cli",),
    ("server",),
    ("workers",),
    ("api", "proxy"),
    ("formation",),
    ("rce",),
    ("runtime", "upgrade"),
    ("images", "environment", "containers", "sandbox"),
    ("process", "download", "telemetry", "service"),
    ("registry",),
    ("auth", "config", "observe"),
    ("disk", "locks"),
    ("errors", "files", "processor", "timestamps", "trust"),
)
# Neighbours that one may look into: keys are part of the configuration.
NEIGHBOURS = {("config", "auth")}
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}
FILES = sorted(PACKAGE.rglob("*.py"))


def room_of(module: str) -> str | None:
    """Return the room of a dotted module name below muxi; None for the package itself and others."""
    parts = module.split(".")
    return parts[1] if parts[0] == "muxi" and len(parts) > 1 else None


def imported_modules(source: str) -> set[str]:
    """Return all that a source imports, wherever the import stands, TYPE_CHECKING blocks too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where they point"
            assert node.module is not None
            below = node.module == "muxi"
            found |= {f"muxi.{alias.name}" for alias in node.names} if below else {node.module}
    return found


def violations(room: str, source: str) -> list[str]:
    wrong = []
    for module in sorted(imported_modules(source)):
        other = room_of(module)
        if other is None or other == room or (room, other) in NEIGHBOURS or other.startswith("_"):
            continue
        if other not in LEVEL:
            wrong.append(f"{module}: no layer is known of {other}; say one in tests/test_layers.py")
        elif LEVEL[other] <= LEVEL[room]:
            wrong.append(f"{module}: {room} is not above {other}")
    return wrong


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_point_down(file: Path) -> None:
    room = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if room == "__init__":
        assert not {module for module in imported_modules(file.read_text("utf-8")) if room_of(module)}
        return
    assert room in LEVEL, f"no layer is known of {room}"
    assert violations(room, file.read_text("utf-8")) == []


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("process", "from muxi.formation.view import LogFiles"),
        ("process", "def f():\n    import muxi.server"),
        ("api", "from muxi.proxy import listener"),
        ("registry", "if TYPE_CHECKING:\n    from muxi.process.spec import ProcessSpec"),
        ("errors", "import muxi.files"),
        ("auth", "import muxi.config.model"),
        ("proxy", "from muxi import cli"),
        ("cli", "import muxi.attic"),
    ],
)
def test_a_wrong_import_is_found(room: str, source: str) -> None:
    assert len(violations(room, source)) == 1


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("cli", "from muxi.server import run"),
        ("cli", "from muxi import __version__"),
        ("formation", "from muxi.process.spec import ProcessSpec"),
        ("process", "from muxi.errors import MuxiError\nimport trio"),
        ("config", "from muxi.auth.credentials import KeyPair"),
    ],
)
def test_a_right_import_is_passed(room: str, source: str) -> None:
    assert violations(room, source) == []

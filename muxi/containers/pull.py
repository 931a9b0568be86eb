"""How far a pull is: the engine's lines added up to one line for people. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from muxi.containers.wire import PullStep

MIB = 1024**2
_DONE = frozenset({"Already exists", "Pull complete"})
_LOADED = frozenset({"Download complete", "Verifying Checksum", "Extracting"})


class PullProgress:
    """Takes the lines as they come; `text` says how it stands."""

    def __init__(self) -> None:
        self._layers: dict[str, tuple[int, int]] = {}
        self._done: set[str] = set()

    def take(self, step: PullStep) -> bool:
        """Take a line; say whether a layer was begun or finished by it."""
        if not step.id or step.status.startswith(("Pulling from", "Pulling repository")):
            return False
        before = len(self._layers), len(self._done)
        loaded, total = self._layers.get(step.id, (0, 0))
        if step.status == "Downloading" and step.progress_detail is not None:
            loaded, total = step.progress_detail.current, max(total, step.progress_detail.total)
        elif step.status in _LOADED or step.status in _DONE:
            loaded = total
        self._layers[step.id] = loaded, total
        if step.status in _DONE:
            self._done.add(step.id)
        return before != (len(self._layers), len(self._done))

    @property
    def text(self) -> str:
        loaded = sum(have for have, _ in self._layers.values())
        total = sum(size for _, size in self._layers.values())
        amount = f", {loaded / MIB:.1f} of {total / MIB:.1f} MiB" if total else ""
        return f"layers {len(self._done)}/{len(self._layers)}{amount}"

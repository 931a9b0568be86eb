"""The sandbox of native formations: finds out once what can be made here, and puts processes into it."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import structlog

from muxi.sandbox import bubblewrap, programs
from muxi.sandbox.account import find_user
from muxi.sandbox.demand import Level, choose
from muxi.sandbox.status import UNTRIED, Status
from muxi.sandbox.trial import find_out

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from muxi.process.spec import ProcessSpec

log = structlog.get_logger()


class Settings(Protocol):
    """What the operator says (`muxi.config.isolation`)."""

    @property
    def sandbox(self) -> str: ...
    @property
    def sandbox_paths(self) -> tuple[str, ...]: ...
    @property
    def user(self) -> str: ...


class Sandbox:
    """Used by many formations' tasks at once.

    `settings` gives the operator's present word. `directory` is a place for our own files in the
    server's data directory; `private` are directories of the server that no formation is to see,
    but for its own part.
    """

    def __init__(
        self,
        settings: Callable[[], Settings],
        *,
        directory: Path,
        private: tuple[Path, ...],
        search_path: str,
    ) -> None:
        self._settings = settings
        self._directory = directory
        self._base = directory.parent
        self._private = private
        self._search_path = search_path
        self._tried: tuple[object, ...] | None = None
        self.status = UNTRIED

    async def look(self, wanted: bool | None = None) -> None:
        """Find out what can be done here, unless it is known, or nobody wants it: see `choose`.

        Two at once find out the same twice.
        """
        unwanted = self._settings().sandbox == "off" and not wanted
        if unwanted or self._tried == self._installed():
            return
        try:
            user = find_user(self._settings().user, self._base)
            status = await find_out(self._search_path, self._directory, user)
        except OSError as error:
            status = Status(
                problem=f"{error.strerror}: {error.filename}", cure="Make the data directory writable."
            )
        self._tried, self.status = self._installed(), status
        log.info("sandbox", **status.in_force(self._settings().sandbox))

    def in_force(self) -> Mapping[str, str]:
        """Say by which means native formations are kept apart here, as far as that has been found out."""
        settings = self._settings()
        return {**self.status.in_force(settings.sandbox), "user": settings.user}

    def choose(self, wanted: bool | None) -> Level:
        """Decide by the operator's word and the manifest's, after a `look`. Raises MuxiError."""
        return choose(self._settings().sandbox, wanted, self.status)

    def confine(self, level: Level, spec: ProcessSpec, release_dir: Path, state_dir: Path) -> ProcessSpec:
        """Put a process into it, and have it run as the user that the operator names.

        Asks the disk for programs only. Raises OperatorError when there is no such user.
        """
        needed = programs.places(spec.argv[0], spec.env.get("PATH", self._search_path))
        if level is Level.NO_NEW_PRIVILEGES:
            spec = replace(spec, argv=(self.status.setpriv, "--no-new-privs", "--", *spec.argv))
        elif level is Level.SANDBOX:
            scratch = self._directory / "scratch" / f"{spec.process_id}.{spec.port}"
            view = self._view(needed, release_dir, state_dir, scratch)
            argv = bubblewrap.command(self.status.program, view, self.status.filter_file, spec.cwd, spec.argv)
            spec = replace(spec, argv=argv, scratch=scratch)
        user = find_user(self._settings().user, self._base)
        if user is None:
            return spec
        reads = tuple(place for place in (release_dir, *needed) if place.is_relative_to(self._base))
        owns = tuple(place for place in (state_dir, spec.scratch) if place is not None)
        return replace(spec, user=replace(user, reads=reads, owns=owns))

    def _view(
        self, needed: tuple[Path, ...], release_dir: Path, state_dir: Path, scratch: Path
    ) -> bubblewrap.View:
        extra = self._settings().sandbox_paths
        resolver = Path("/etc/resolv.conf").resolve()
        readable = [place for place in needed if not bubblewrap.is_shown(place, extra)]
        return bubblewrap.View(
            readable=(*readable, release_dir),
            writable=(state_dir,),
            extra=(*extra, str(resolver)),
            hidden_files=tuple(place for place in bubblewrap.SECRETS if Path(place).is_file()),
            hidden_directories=(
                *(place for place in bubblewrap.SECRETS if Path(place).is_dir()),
                *(str(place) for place in self._private if bubblewrap.is_shown(place, extra)),
            ),
            temporary=scratch,
        )

    def _installed(self) -> tuple[object, ...]:
        program = shutil.which("bwrap", path=self._search_path) or shutil.which("bwrap")
        changed = os.stat(program).st_mtime_ns if program else 0  # noqa: PTH116
        return program, changed, self._directory.exists(), self._settings().user

"""The program as it is installed: which version it is, another one put in its place, and back. Blocks.

At every moment there is a whole program at its path: the old one is linked to a second name, then
the new one takes the first. (Windows lets nobody replace a program that runs, but rename it.)
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from muxi.errors import OperatorError
from muxi.files import sync_directory

if TYPE_CHECKING:
    from pathlib import Path

ANSWER_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Installed:
    """A program's file, never a link. `old` is where the one before it is kept."""

    path: Path

    @property
    def old(self) -> Path:
        return self.path.with_name(f"{self.path.name}.old")

    @property
    def new(self) -> Path:
        return self.path.with_name(f"{self.path.name}.new")

    def require_rights(self) -> None:
        """Raise OperatorError unless the file can be replaced by this user."""
        if not self.path.is_file():
            raise OperatorError(f"There is no program at {self.path}.")
        if not os.access(self.path.parent, os.W_OK):
            raise OperatorError(
                f"You may not write to {self.path.parent}.", cure="Run it as who has installed it: with sudo."
            )

    def bring(self, file: Path, version: str) -> None:
        """Copy a program beside this one, and see that it runs here and is the version that it should be.

        Raises OperatorError; then nothing is left of it.
        """
        try:
            self._copy(file)
            told = version_of(self.new)
            if told != version:
                raise OperatorError(f"The new program says that it is {told}, and not {version}.")
        except BaseException:
            self.new.unlink(missing_ok=True)
            raise

    def replace(self) -> None:
        """Put the new program in the place of this one, which is kept.

        Raises OperatorError; then the old one is where it was.
        """
        try:
            self.old.unlink(missing_ok=True)
            if os.name == "nt":
                self.path.rename(self.old)
            else:
                self._keep()
            self.new.replace(self.path)
            sync_directory(self.path.parent)
        except OSError as error:
            if not self.path.exists():
                self.old.rename(self.path)
            with suppress(OSError):
                self.new.unlink(missing_ok=True)
            raise OperatorError(f"{self.path} can't be replaced: {error.strerror or error}.") from error

    def restore(self) -> None:
        """Put the old program back. Raises OperatorError."""
        try:
            if os.name == "nt":
                self.path.rename(self.path.with_name(f"{self.path.name}.failed"))
            self.old.replace(self.path)
            sync_directory(self.path.parent)
        except OSError as error:
            raise OperatorError(
                f"The old program can't be put back: {error.strerror or error}.",
                cure=f"Do it by hand: it is {self.old}.",
            ) from error

    def _keep(self) -> None:
        try:
            os.link(self.path, self.old)
        except OSError:  # a file system without links
            shutil.copy2(self.path, self.old)

    def _copy(self, file: Path) -> None:
        try:
            with file.open("rb") as source, self.new.open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
                target.flush()
                os.fsync(target.fileno())
            self.new.chmod(0o755)
            with suppress(OSError):  # as root: whose it was
                status = self.path.stat()
                os.chown(self.new, status.st_uid, status.st_gid)
        except OSError as error:
            raise OperatorError(f"{self.new} can't be written: {error.strerror or error}.") from error


def version_of(program: Path) -> str:
    """Ask a program for its version. Raises OperatorError: it does not run here, or says nothing of use."""
    try:
        done = subprocess.run(
            [program, "version", "--json"],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=ANSWER_SECONDS,
            check=False,
        )
        value = json.loads(done.stdout) if done.returncode == 0 else None
    except OSError as error:
        raise _broken(program, error.strerror or str(error)) from error
    except subprocess.TimeoutExpired as error:
        raise _broken(program, f"it does not say within {ANSWER_SECONDS:g} s which version it is") from error
    except ValueError as error:
        raise _broken(program, "it does not say which version it is") from error
    if not isinstance(value, dict) or not isinstance(value.get("version"), str):
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise _broken(program, said[-1] if said else f"exit status {done.returncode}")
    version: str = value["version"]
    return version


def _broken(program: Path, why: str) -> OperatorError:
    return OperatorError(f"{program} does not run on this machine: {why}.", cure="Please report it.")

"""The directories that the server writes in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muxi.files import PRIVATE_DIRECTORY
from muxi.formation.disk import storage_error

if TYPE_CHECKING:
    from muxi.config.model import Config


def prepare_directories(config: Config) -> None:
    """Make those that are missing. Raises StorageError."""
    directories = (
        config.paths.data_dir,
        config.paths.cache_dir,
        config.formations.formations_dir,
        config.formations.logs_dir,
        config.logging.audit_log.parent,
    )
    try:
        for directory in directories:
            directory.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, f"make the directory {error.filename}") from error

"""The models that a formation in a container sees: its own, and those that were here before it."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from muxi.files import PRIVATE_DIRECTORY

if TYPE_CHECKING:
    from pathlib import Path

MODELS: Final = "/opt/hf-cache"
"""Where they are inside."""
MODEL_VARIABLES: Final = {"HF_HOME": MODELS, "HF_HUB_CACHE": MODELS}
"""How what runs inside is told so."""


def models_size(cache: Path) -> int:
    """Return the bytes of the models below a cache, of unfinished ones too. Blocks; raises nothing."""
    total = 0
    for found in (*cache.glob("models--*"), *cache.glob("hub/models--*")):
        for directory, _, names in os.walk(found):
            for name in names:
                with suppress(OSError):  # renamed meanwhile
                    total += os.lstat(os.path.join(directory, name)).st_size  # noqa: PTH118
    return total


def model_binds(cache: Path) -> tuple[tuple[Path, str], ...]:
    """Return what is bound where, all of it writable, after having made it. Blocks; raises OSError.

    Not the whole cache: the rest of it is not a formation's to write.
    """
    fetched = cache / "hub"
    fetched.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
    binds = [(fetched, MODELS)]
    for model in sorted(cache.glob("models--*")):
        (fetched / model.name).mkdir(exist_ok=True)  # what a mount covers has to be there
        binds.append((model, f"{MODELS}/{model.name}"))
    return tuple(binds)

"""Whether a bundle can be deployed: everything that can be said of it without starting it. Blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from muxi.formation.manifest import check_identity, read_manifest
from muxi.formation.policy import check_options
from muxi.formation.resources import check_resources
from muxi.formation.secrets import check_secrets

if TYPE_CHECKING:
    from pathlib import Path

    from muxi.config.model import Config
    from muxi.formation.bundle import Bundle
    from muxi.formation.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a bundle that can be deployed is. `files` counts its members, `size` their bytes."""

    id: str
    name: str
    version: str
    kind: str
    files: int
    size: int
    content_hash: str


def check_bundle(root: Path, config: Config, formation_id: str | None, version: str | None) -> Manifest:
    """Check an extracted bundle as a deploy does; what is None is not compared.

    Whether it can be run here its runtime says (`muxi.runtime.catalogue`). Raises RequestError
    (ParseError, SecretsError, IDMismatch, VersionMismatch, LimitExceeded) and StorageError.
    """
    manifest = read_manifest(root)
    check_secrets(root)
    check_identity(manifest, formation_id, version)
    check_options(manifest.proxy, config.proxy)
    check_resources(manifest.resources, config.formations)
    return manifest


def verdict(manifest: Manifest, bundle: Bundle) -> Verdict:
    return Verdict(
        id=manifest.id,
        name=manifest.name,
        version=manifest.version,
        kind=manifest.kind,
        files=bundle.members,
        size=bundle.total_size,
        content_hash=bundle.content_hash,
    )

"""Validating without deploying: a bundle goes the way of a deploy up to the spawn, and is gone again."""

from __future__ import annotations

import secrets
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

import trio

from muxi.api.answers import success
from muxi.api.exchange import current
from muxi.api.routing import Endpoint
from muxi.api.uploads import Intake
from muxi.errors import NotFound
from muxi.formation.bundle import extract
from muxi.formation.check import check_bundle, verdict
from muxi.formation.disk import remove_tree
from muxi.formation.identifier import id_problem
from muxi.formation.source import require_space_for

if TYPE_CHECKING:
    from pathlib import Path

    from quart import Response

    from muxi.api.parts import ApiParts
    from muxi.formation.bundle import Bundle
    from muxi.formation.check import Verdict
    from muxi.formation.manifest import Manifest
    from muxi.formation.upload import Upload
    from muxi.runtime.choice import Choice


class ValidateRoutes:
    """`POST /rpc/formations/validate`; the body as for a deploy, its id and version optional."""

    def __init__(self, parts: ApiParts) -> None:
        self._fleet = parts.fleet
        self._facilities = parts.facilities
        self._intake = Intake(parts)

    def endpoints(self) -> tuple[Endpoint, ...]:
        return (Endpoint("POST", "/rpc/formations/validate", self.validate),)

    async def validate(self) -> Response:
        """Answer what the bundle is, what it would run on, and if it would be an update; else the error."""
        wanted = await self._intake.from_either()
        formation_id, version = wanted.formation_id, wanted.version
        if formation_id is not None and id_problem(formation_id) is None:
            current().formation = formation_id
        async with wanted.open() as pieces:
            upload = await self._intake.receive(pieces)
        try:
            found, choice = await self._check(upload, formation_id, version)
        finally:
            await upload.discard()
        return success(
            {
                "valid": True,
                **asdict(found),
                "action": self._action(found.id),
                "runtime": {"name": choice.name, "reason": choice.reason},
            }
        )

    async def _check(
        self, upload: Upload, formation_id: str | None, version: str | None
    ) -> tuple[Verdict, Choice]:
        workplace = self._facilities.workspace / f"validate-{secrets.token_hex(8)}"
        try:
            manifest, bundle = await trio.to_thread.run_sync(
                partial(self._work, upload, workplace, formation_id, version)
            )
            choice = await self._facilities.runtimes.check(manifest, bundle.root)
            return verdict(manifest, bundle), choice
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(remove_tree, workplace)

    def _work(
        self, upload: Upload, workplace: Path, formation_id: str | None, version: str | None
    ) -> tuple[Manifest, Bundle]:
        config = self._facilities.config
        require_space_for(upload, workplace.parent, config.formations)
        bundle = extract(
            upload.path,
            workplace,
            config.formations.bundle,
            report=lambda _read: None,
            check_cancelled=trio.from_thread.check_cancelled,
        )
        return check_bundle(bundle.root, config, formation_id, version), bundle

    def _action(self, formation_id: str) -> str:
        try:
            self._fleet.get(formation_id)
        except NotFound:
            return "deploy"
        return "update"

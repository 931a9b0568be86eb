"""The newest releases of the SDKs, so that the proxy can tell those that are older (http-api.md 6).

Looked up in the background when the server starts and once a day. Without a network nothing is
said of it: what was known stays known, and where nothing is, an SDK is told its own version.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import structlog
import trio

from muxi.telemetry.consent import do_not_track
from muxi.telemetry.http import OutsideError, outside

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from muxi.telemetry.http import Outside

log = structlog.get_logger()

SDKS: Final = (
    "go", "python", "typescript", "ruby", "php", "csharp", "swift", "kotlin", "dart", "java", "rust", "cpp",
)  # fmt: skip
INTERVAL: Final = 24 * 3600.0
ASK_SECONDS: Final = 5.0
LONGEST: Final = 100
VERSION: Final = re.compile(r"v?([0-9][0-9A-Za-z.+-]{0,63})")


class SdkReleases:
    """`latest` answers the proxy; `run` keeps what it knows fresh.

    `source` gives the address of a version file, with `{sdk}` in it, or None while nothing is to be
    looked up. `changed` is called with all that is known after each change of it.
    """

    def __init__(
        self,
        source: Callable[[], str | None],
        environment: Mapping[str, str],
        changed: Callable[[Mapping[str, str]], None],
    ) -> None:
        self.known: dict[str, str] = {}
        self._source = source
        self._environment = environment
        self._changed = changed

    @property
    def source(self) -> str | None:
        """Where releases are looked up; None: nowhere, and no SDK is told anything."""
        unwanted = self._environment.get("MUXI_NO_UPDATE_CHECK", "").strip() not in {"", "0"}
        return None if unwanted or do_not_track(self._environment) else self._source()

    def latest(self, sdk: bytes, version: bytes) -> bytes | None:
        """Tell an SDK of its newest release: its own version where that is not known."""
        if self.source is None:
            return None
        return newest(self.known, sdk, version)

    async def run(self) -> None:
        """Look up all of them now, and once a day. Runs until cancelled."""
        while True:
            await self._refresh()
            await trio.sleep(INTERVAL)

    async def _refresh(self) -> None:
        source = self.source
        if source is None:
            return
        before = dict(self.known)
        try:
            async with outside() as client, trio.open_nursery() as nursery:
                for sdk in SDKS:
                    nursery.start_soon(self._look_up, client, sdk, source.replace("{sdk}", sdk))
        except OutsideError as error:
            log.debug("sdk releases not known", reason=str(error))
        if self.known != before:
            self._changed(self.known)

    async def _look_up(self, client: Outside, sdk: str, url: str) -> None:
        try:
            text = await client.get_text(url, ASK_SECONDS, LONGEST)
        except OutsideError as error:
            log.debug("sdk release not known", sdk=sdk, reason=str(error))
            return
        found = VERSION.fullmatch(text.strip())
        if found is not None:
            self.known[sdk] = found[1]


def newest(known: Mapping[str, str], sdk: bytes, version: bytes) -> bytes:
    """Return what is known of an SDK's newest release, or the version that it has."""
    found = known.get(sdk.decode("ascii", "replace").lower())
    return version if found is None else found.encode()

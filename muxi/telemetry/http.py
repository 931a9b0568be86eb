"""Short requests to hosts outside, by a client that is gone with its purpose.

httpx and the system's certificates are loaded when the first one is made, in a thread: a server
that asks nobody pays nothing.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from muxi import __version__
from muxi.trust import system_trust

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    import httpx

AGENT = f"muxi-server/{__version__}"


class OutsideError(Exception):
    """There was no answer, or none of use. Its text says which."""


class Outside:
    """Asks hosts outside; each request takes a time that is given, at most. Redirections are not followed."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def post_json(self, url: str, content: Mapping[str, object], seconds: float) -> None:
        """Send a JSON object; any 2xx is good. Raises OutsideError."""
        headers = {"Content-Type": "application/json"}
        await self._ask("POST", url, seconds, 0, body=json.dumps(content).encode(), headers=headers)

    async def get_text(self, url: str, seconds: float, limit: int) -> str:
        """Return a small text of `limit` bytes at most. Raises OutsideError."""
        data = await self._ask("GET", url, seconds, limit)
        try:
            return data.decode("ascii")
        except UnicodeDecodeError as error:
            raise OutsideError(f"{url}: not a plain text") from error

    async def _ask(
        self,
        method: str,
        url: str,
        seconds: float,
        limit: int,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        import httpx  # noqa: PLC0415 - see above

        try:
            with trio.fail_after(seconds):
                async with self._client.stream(method, url, content=body, headers=headers) as response:
                    if not response.is_success:
                        raise OutsideError(f"{url}: {response.status_code}")
                    return await _read(response, limit)
        except trio.TooSlowError as error:
            raise OutsideError(f"{url}: no answer within {seconds:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            raise OutsideError(f"{url}: {str(error) or type(error).__name__}") from error


async def _read(response: httpx.Response, limit: int) -> bytes:
    data = b""
    if not limit:
        return data
    with trio.CancelScope() as enough:
        async for part in response.aiter_bytes():
            data += part
            if len(data) > limit:
                enough.cancel()  # from within is the one way to leave these iterators cleanly
    if len(data) > limit:
        raise OutsideError(f"{response.url}: more than {limit} bytes")
    return data


@asynccontextmanager
async def outside() -> AsyncIterator[Outside]:
    """Give what asks hosts outside, for the length of the block. Raises OutsideError.

    Certificates and proxies are those of the environment, which may be wrong.
    """
    try:
        client = await trio.to_thread.run_sync(_client, abandon_on_cancel=True)
    except (OSError, ValueError) as error:
        raise OutsideError(f"the environment's certificates or proxies can't be used: {error}") from error
    async with client:
        yield Outside(client)


def _client() -> httpx.AsyncClient:
    import httpx  # noqa: PLC0415

    try:
        return httpx.AsyncClient(headers={"User-Agent": AGENT}, timeout=None, verify=system_trust())  # noqa: S113 - trio's is around each
    except httpx.InvalidURL as error:
        raise ValueError(error) from error

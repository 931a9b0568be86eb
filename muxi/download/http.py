"""One exchange with a server of files: a client of its own, bounded redirections, every wait a deadline.

httpx keeps a pool's places of cancelled requests for ever, so that each exchange has its own client.
Its body iterators are generators within generators, which can't be left early without a
complaint of Trio's; they are ended by cancelling them, from within.
"""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import httpx
import trio

from muxi import __version__
from muxi.download.failure import DownloadError, Interrupted, shown
from muxi.download.retry import wish
from muxi.trust import system_trust

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from muxi.config.download import DownloadConfig

MOST_REDIRECTS = 8
AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
GONE = frozenset({404, 410})
PIECE = 64 * 1024

_trouble = (httpx.HTTPError, httpx.StreamError)


class Http:
    """Makes the exchanges. Settings are those of the moment at which one begins."""

    def __init__(self, settings: Callable[[], DownloadConfig], trust: ssl.SSLContext | None = None) -> None:
        """`trust` None: the authorities that this system, or SSL_CERT_FILE, names."""
        self._settings = settings
        self._trust = trust

    @asynccontextmanager
    async def answer(
        self, method: str, url: str, fields: Mapping[str, str] | None = None, *, follow: bool = True
    ) -> AsyncIterator[httpx.Response]:
        """Give an answer whose status is 2xx or 416 (or 3xx, if they are not followed).

        Raises DownloadError and Interrupted.
        """
        async with self._client(url) as client:
            response = await self._ask(client, method, url, fields or {}, follow=follow)
            try:
                yield response
            finally:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + 5):
                    await response.aclose()

    @asynccontextmanager
    async def pieces(self, response: httpx.Response) -> AsyncIterator[AsyncIterator[bytes]]:
        """Give the body as it comes, which may be left at any moment. Raises Interrupted."""
        body = response.aiter_raw()
        try:
            yield _Pieces(body, self._settings().stall_timeout)
        finally:
            with suppress(*_trouble), trio.CancelScope(shield=True) as scope:
                scope.cancel()
                async for _ in body:
                    pass

    @asynccontextmanager
    async def _client(self, url: str) -> AsyncIterator[httpx.AsyncClient]:
        try:
            if self._trust is None:
                self._trust = await trio.to_thread.run_sync(system_trust)
            client = httpx.AsyncClient(
                verify=self._trust,
                follow_redirects=False,
                timeout=httpx.Timeout(None, connect=self._settings().connect_timeout),
                headers={
                    "User-Agent": f"muxi-server/{__version__}",
                    "Accept": "*/*",
                    "Accept-Encoding": "identity",
                },
            )
        except (ValueError, ImportError, httpx.InvalidURL) as error:
            raise DownloadError(
                f"{shown(url)} could not be asked for: a proxy of the environment can't be used.",
                cure="Give HTTP_PROXY, HTTPS_PROXY and ALL_PROXY as http://host:port, or unset them.",
            ) from error
        except OSError as error:
            raise DownloadError(
                f"The certificates to trust could not be read: {error.strerror or error}.",
                cure="Check SSL_CERT_FILE and SSL_CERT_DIR.",
            ) from error
        async with client:
            yield client

    async def _ask(
        self, client: httpx.AsyncClient, method: str, url: str, fields: Mapping[str, str], *, follow: bool
    ) -> httpx.Response:
        for _ in range(MOST_REDIRECTS + 1):
            response = await self._send(client, method, url, fields)
            if not response.is_redirect or not follow:
                await _check(response, url)
                return response
            await response.aclose()
            url = _next(url, response.headers["location"])
        raise DownloadError(
            f"{shown(url)} leads on and on (more than {MOST_REDIRECTS} redirections).",
            cure="Check the address of the mirror.",
        )

    async def _send(
        self, client: httpx.AsyncClient, method: str, url: str, fields: Mapping[str, str]
    ) -> httpx.Response:
        settings = self._settings()
        seconds = settings.connect_timeout + settings.first_byte_timeout
        try:
            request = client.build_request(method, url, headers=dict(fields))
            with trio.move_on_after(seconds):
                return await client.send(request, stream=True)
        except _trouble as error:
            raise _explained(error, url) from error
        except httpx.InvalidURL as error:
            raise DownloadError(
                f"{shown(url)} is not a URL.", cure="Check the address of the mirror in the configuration."
            ) from error
        raise Interrupted(f"the server did not answer within {seconds:g} s")


class _Pieces:
    """The pieces of a body; each has to come within the deadline."""

    def __init__(self, body: AsyncIterator[bytes], seconds: float) -> None:
        self._body = body
        self._seconds = seconds

    def __aiter__(self) -> _Pieces:
        return self

    async def __anext__(self) -> bytes:
        try:
            with trio.move_on_after(self._seconds):
                return await anext(self._body)
        except _trouble as error:
            raise Interrupted(_in_words(error)) from error
        raise Interrupted(f"nothing came for {self._seconds:g} s")


async def _check(response: httpx.Response, url: str) -> None:
    status = response.status_code
    if status < 400 or status == 416:
        return
    await response.aclose()
    where = shown(url)
    if status in AGAIN:
        raise Interrupted(f"{where} answered {status}", wish(response.headers.get("retry-after")))
    if status in GONE:
        raise DownloadError(
            f"There is no {where} ({status}).",
            cure="Check the version, and the address of the mirror.",
            missing=True,
        )
    # Stores of objects answer 403 for what is not there, where one may not list.
    raise DownloadError(
        f"{where} answered {status} {response.reason_phrase}.".replace(" .", "."),
        cure="Check the address of the mirror, and whether it wants a user and a password.",
        missing=status == 403,
    )


def _next(url: str, location: str) -> str:
    """Return where a redirection leads. Raises DownloadError where it must not be followed."""
    target = httpx.URL(url).join(location)  # httpx itself has refused what is no URL
    if target.scheme not in {"http", "https"} or (
        url.lower().startswith("https:") and target.scheme != "https"
    ):
        raise DownloadError(
            f"{shown(url)} leads to {target.scheme or 'nowhere'}, which is not safe to follow.",
            cure="Use a mirror that stays with https.",
        )
    return str(target)


def _explained(error: Exception, url: str) -> Exception:
    if isinstance(error, httpx.UnsupportedProtocol):
        return DownloadError(
            f"{shown(url)} is neither https nor http.",
            cure="Check the address of the mirror in the configuration.",
        )
    if _untrusted(error):
        return DownloadError(
            f"The certificate of {shown(url)} is not trusted.",
            cure="Check this machine's clock; for a mirror with an authority of its own set SSL_CERT_FILE.",
        )
    return Interrupted(_in_words(error))


def _untrusted(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _in_words(error: Exception) -> str:
    if isinstance(error, httpx.ConnectTimeout):
        return "no connection in time"
    if isinstance(error, httpx.ProxyError):
        return f"the proxy refused ({error})"
    if isinstance(error, httpx.ConnectError):
        return f"no connection ({str(error) or 'refused'})"
    if isinstance(error, httpx.RemoteProtocolError):
        return "the server cut it off, or what it sent is not HTTP"
    return "the connection broke"

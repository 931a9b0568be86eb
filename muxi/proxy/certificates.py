"""The certificate and key that TLS is served with, read again when their files change.

Change is seen by a look at the files once a second, in a thread. An event (inotify) would have to
follow every link on the way: those who renew certificates swap a link, often one in a directory
above (`live/name/` to `archive/`, `..data` in a mounted secret), and `stat` follows them all.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final

import structlog
import trio

from muxi.errors import OperatorError

if TYPE_CHECKING:
    from pathlib import Path

log = structlog.get_logger()

VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
#: For TLS 1.2: forward secrecy and authenticated encryption only, as HTTP/2 asks (RFC 9113 9.2.2).
CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
LOOK_SECONDS: Final = 1.0

#: What tells whether the files are still the ones that were read.
Signature = tuple[tuple[int, int, int], ...]


class Certificates:
    """A pair of PEM files, and the context made of them for new connections.

    Raises OperatorError when made, if they can't be used. Without a key's path, the key is in the
    certificate's file.
    """

    def __init__(self, cert: Path, key: Path | None = None, min_version: str = "1.2") -> None:
        self._cert = cert
        self._key = key or cert
        self._min_version = VERSIONS[min_version]
        self._signature = self._look()
        self.context = self._load()

    def take(self, other: Certificates) -> None:
        """Serve with another pair, from the next connection on."""
        self._cert, self._key, self._min_version = other._cert, other._key, other._min_version
        self._signature, self.context = other._signature, other.context

    async def watch(self, interval: float = LOOK_SECONDS) -> None:
        """Take a new pair when it has come; for ever. A bad one is logged, and the old one stays."""
        seen = self._signature
        while True:
            await trio.sleep(interval)
            found = await trio.to_thread.run_sync(self._look)
            # The two files are written one after the other: wait until both have come to rest.
            if found == seen and found != self._signature:
                self._signature = found
                await self._reload()
            seen = found

    async def _reload(self) -> None:
        try:
            self.context = await trio.to_thread.run_sync(self._load)
        except OperatorError as error:
            log.error("certificate_not_reloaded", reason=error.message, cure=error.cure)
        else:
            log.info("certificate_reloaded", cert=str(self._cert))

    def _look(self) -> Signature:
        found = []
        for path in (self._cert, self._key):
            try:
                stat = path.stat()
            except OSError as error:
                found.append((-1, error.errno or 0, 0))
            else:
                found.append((stat.st_mtime_ns, stat.st_size, stat.st_ino))
        return tuple(found)

    def _load(self) -> ssl.SSLContext:
        self._check(self._cert, b"-----BEGIN CERTIFICATE-----", "certificate", "server.tls.cert")
        self._check(self._key, b"PRIVATE KEY-----", "private key", "server.tls.key")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = self._min_version
        context.set_ciphers(CIPHERS)
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
        context.set_alpn_protocols(["h2", "http/1.1"])
        try:
            context.load_cert_chain(self._cert, self._key, password=_no_password)
        except ssl.SSLError as error:
            raise self._explain(error) from error
        except OSError as error:
            raise _unreadable(self._cert, error, "certificate", "server.tls.cert") from error
        return context

    def _check(self, path: Path, mark: bytes, noun: str, setting: str) -> None:
        """See that the file is there and looks right: OpenSSL does not say which one is wrong."""
        try:
            content = path.read_bytes()
        except OSError as error:
            raise _unreadable(path, error, noun, setting) from error
        if mark not in content:
            raise _unusable(f"{path} holds no {noun} in PEM form.", f"Set {setting} to a file that does.")
        if noun == "private key" and b"ENCRYPTED" in content:
            cure = "Write it without: `openssl pkey -in KEY -out NEW`, readable by this user only."
            raise _unusable(f"The private key in {path} is protected by a password.", cure)

    def _explain(self, error: ssl.SSLError) -> OperatorError:
        if error.reason == "KEY_VALUES_MISMATCH":
            message = f"The private key in {self._key} is not that of the certificate in {self._cert}."
            return _unusable(message, "Set server.tls.cert and server.tls.key to a pair made together.")
        message = f"The certificate in {self._cert} and its key can't be used: {error.reason or error}."
        return _unusable(message, "Check them with `openssl x509 -in CERT -noout -text`, or make new ones.")


def _no_password() -> str:
    """Keep OpenSSL from asking at the terminal."""
    return ""


def _unreadable(path: Path, error: OSError, noun: str, setting: str) -> OperatorError:
    cure = f"Set {setting} to a PEM file that this user may read."
    return _unusable(f"The {noun} {path} can't be read: {error.strerror}.", cure)


def _unusable(message: str, cure: str) -> OperatorError:
    return OperatorError(message, code="TlsUnusable", cure=cure)

"""Which authorities' certificates are believed: this machine's own, wherever it keeps them.

A binary carries an OpenSSL that looks where the machine it was built on keeps them, which is
elsewhere on other distributions.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Where systems keep them in one file, the likeliest first (as in Go's crypto/x509/root_linux.go and
#: root_bsd.go).
BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Arch, Gentoo
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL 6
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # CentOS, RHEL 7 and newer
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # Alpine, macOS, the BSDs
)


def system_trust(bundles: Sequence[str] = BUNDLES) -> ssl.SSLContext:
    """Return what to check a public server's certificate by. Blocks: it reads the authorities.

    SSL_CERT_FILE and SSL_CERT_DIR go before the system's. Where there are none at all, every server is
    refused.
    """
    context = ssl.create_default_context()
    places = ssl.get_default_verify_paths()
    # A directory is searched when a certificate is checked; a file was read just now.
    if context.cert_store_stats()["x509_ca"] or (places.capath and any(Path(places.capath).iterdir())):
        return context
    for bundle in bundles:
        if Path(bundle).is_file():
            context.load_verify_locations(bundle)
            break
    return context


def no_trust() -> ssl.SSLContext:
    """Return a context that believes nobody, for clients that speak no HTTPS. Takes no time."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

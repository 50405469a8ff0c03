"""Client certificates for mutual TLS: checked when saved, turned into TLS contexts when used."""

import hashlib
import os
import ssl
import tempfile
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509 import load_pem_x509_certificate

_MAX_RSA_BITS: Final = 8192
"""A longer key would take seconds of CPU for every handshake."""
_CACHED: Final = 100


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """PEM texts for mutual TLS."""

    certificate: str
    key: str = field(repr=False)

    @property
    def digest(self) -> bytes:
        """Hash that identifies the pair."""
        return hashlib.sha256(f"{self.certificate}\0{self.key}".encode()).digest()


class CertificateError(ValueError):
    """The certificate or its key cannot be used; the text says why, without the key."""

    def __init__(self, field_name: str, text: str) -> None:
        super().__init__(text)
        self.field = field_name


def check_certificate(pair: ClientCertificate) -> None:
    """Check that a certificate and its key are usable and belong together.

    Raises:
        CertificateError: ``field`` is ``client_certificate`` or ``client_key``.
    """
    try:
        public = load_pem_x509_certificate(pair.certificate.encode()).public_key()
        shown = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm):
        raise CertificateError("client_certificate", "is not a certificate in PEM") from None
    try:
        # Skip the primality test: for a huge key it takes minutes.
        private = load_pem_private_key(pair.key.encode(), None, unsafe_skip_rsa_key_validation=True)
        own = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except TypeError:
        raise CertificateError(
            "client_key", "is encrypted: decrypt it first (openssl pkey -in KEY.pem -out PLAIN.pem)"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise CertificateError("client_key", "is not a private key in PEM") from None
    if isinstance(public, RSAPublicKey) and public.key_size > _MAX_RSA_BITS:
        raise CertificateError("client_key", f"is longer than {_MAX_RSA_BITS} bits")
    if own != shown:
        raise CertificateError("client_key", "does not belong to client_certificate")
    context_with(pair)


def context_with(pair: ClientCertificate) -> ssl.SSLContext:
    """A TLS context with the client certificate, which OpenSSL can only load from a file.

    Raises:
        CertificateError: OpenSSL refuses it, or the key is encrypted.
    """
    context = ssl.create_default_context()
    descriptor, path = tempfile.mkstemp(prefix="pytake-mtls-")  # 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f"{pair.certificate}\n{pair.key}\n")
        # Without a password, OpenSSL would prompt for that of an encrypted key on the terminal.
        context.load_cert_chain(path, password="")
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None) or "not readable"
        raise CertificateError(
            "client_certificate",
            f"the client certificate or its key is not valid, or is encrypted (OpenSSL: {reason})",
        ) from None
    finally:
        os.unlink(path)
    return context


class Contexts:
    """LRU cache of TLS contexts: creating one reads all root certificates."""

    def __init__(self) -> None:
        self._made: OrderedDict[bytes, ssl.SSLContext] = OrderedDict()

    def of(self, pair: ClientCertificate) -> ssl.SSLContext:
        """The context of a pair.

        Raises:
            CertificateError: OpenSSL refuses it, or the key is encrypted.
        """
        digest = pair.digest
        if digest not in self._made:
            self._made[digest] = context_with(pair)
            while len(self._made) > _CACHED:
                self._made.popitem(last=False)
        self._made.move_to_end(digest)
        return self._made[digest]

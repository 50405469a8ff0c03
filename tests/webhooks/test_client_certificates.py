"""Clients' certificates: checked when they are configured, and one TLS context for each."""

import datetime
import os
import ssl
import subprocess
import sys
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from pytake.webhooks.client_certificates import (
    CertificateError,
    ClientCertificate,
    Contexts,
    check_certificate,
)

NOW = datetime.datetime(2026, 11, 24, 12, tzinfo=datetime.UTC)


def _pair(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, passphrase: bytes | None = None
) -> ClientCertificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "client")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(NOW)
        .not_valid_after(NOW + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    sealing = (
        serialization.BestAvailableEncryption(passphrase)
        if passphrase
        else serialization.NoEncryption()
    )
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, sealing
    ).decode()
    return ClientCertificate(certificate.public_bytes(serialization.Encoding.PEM).decode(), text)


def test_client_certificates_are_checked() -> None:
    key, other = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    good, locked = _pair(key), _pair(key, b"open sesame")
    check_certificate(good)
    assert good.key not in repr(good)
    short = _pair(rsa.generate_private_key(65537, 1024))  # noqa: S505 - that it is refused is the test
    cases = [
        (locked, "client_key", "is encrypted"),
        (ClientCertificate("no", good.key), "client_certificate", "not a certificate"),
        (ClientCertificate(good.certificate, "no"), "client_key", "not a private key"),
        (ClientCertificate(good.certificate, _pair(other).key), "client_key", "does not belong"),
        (short, "client_certificate", "OpenSSL"),
    ]
    for pair, name, text in cases:
        with pytest.raises(CertificateError, match=text) as caught:
            check_certificate(pair)
        assert caught.value.field == name


def test_a_tls_context_is_made_once() -> None:
    contexts, pair = Contexts(), _pair(ec.generate_private_key(ec.SECP256R1()))
    made = contexts.of(pair)
    assert isinstance(made, ssl.SSLContext)
    assert contexts.of(ClientCertificate(pair.certificate, pair.key)) is made
    assert contexts.of(_pair(ec.generate_private_key(ec.SECP256R1()))) is not made


def test_an_encrypted_key_does_not_prompt_for_a_passphrase() -> None:
    """OpenSSL would prompt on the controlling terminal, and the worker would stand still."""
    locked = _pair(ec.generate_private_key(ec.SECP256R1()), b"open sesame")
    master, terminal = os.openpty()
    code = (
        "import fcntl, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
        "from pytake.webhooks.client_certificates import *\n"
        "try: context_with(ClientCertificate(sys.argv[1], sys.argv[2]))\n"
        "except CertificateError: print('refused')"
    )
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", code, locked.certificate, locked.key],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
        )
        killing = threading.Timer(60, process.kill)
        killing.start()
        os.close(terminal)
        shown = b""
        while b"refused" not in shown and b"pass" not in shown:
            shown += os.read(master, 1000)
        process.kill()
        process.wait()
        killing.cancel()
    finally:
        os.close(master)
    assert b"refused" in shown
    assert b"pass" not in shown, shown

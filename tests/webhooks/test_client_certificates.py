"""Parts of a delivery's request: header values, client certificates, tokens. No secrets in errors."""

import asyncio
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
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from api.webhooks.schemas import ConfigureBody
from pytake.webhooks.authentication import AuthError, parse_token
from pytake.webhooks.client_certificates import (
    CertificateError,
    ClientCertificate,
    Contexts,
    check_certificate,
)
from pytake.webhooks.guard import BlockedUrlError, check_url, parse_networks
from pytake.webhooks.headers import value_problem
from pytake.webhooks.policies import parse_retry_after
from pytake.webhooks.transport import DeliveryError, GuardedClient

NOW = datetime.datetime(2026, 11, 24, 12, tzinfo=datetime.UTC)
SECRET = "s3cr3t-token-of-mine"


@pytest.mark.parametrize("value", ["", "a", "Bearer abc", "a  b", "~!"])
def test_a_header_carries_printable_ascii(value: str) -> None:
    assert value_problem(value) is None


@pytest.mark.parametrize(
    "value",
    [
        f"{SECRET} ",
        f" {SECRET}",
        f"{SECRET}\n",
        f"{SECRET}é",
        f"{SECRET}\r\nX: y",
        f"{SECRET}\0",
        f"{SECRET}\ud800",
        f"\xa0{SECRET}",
        f"{SECRET}\t",
    ],
)
async def test_an_invalid_header_value_is_refused_without_quoting_it(value: str) -> None:
    problem = value_problem(value)
    assert problem is not None
    assert SECRET not in problem
    client = GuardedClient()
    with pytest.raises(DeliveryError, match=r"^header Authorization ") as caught:
        await client.post(
            "https://x.example/", headers={"Authorization": value}, body=b"", deadline=1
        )
    assert SECRET not in str(caught.value)
    await client.aclose()
    body = {"url": "https://x.example/", "events": ["*"], "custom_headers": {"X-Key": value}}
    with pytest.raises(ValidationError) as refused:
        ConfigureBody.model_validate(body)
    assert not any(SECRET in item["msg"] for item in refused.value.errors())


async def test_errors_of_the_http_client_do_not_quote_header_values(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Were the check before it to miss something, the client's own error would quote the header."""
    monkeypatch.setattr("pytake.webhooks.transport.unsendable", lambda _: None)
    listening = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
    client = GuardedClient(parse_networks("127.0.0.0/8"))
    with pytest.raises(DeliveryError) as caught:
        await client.post(url, headers={"Authorization": f"{SECRET} "}, body=b"", deadline=5)
    assert "HTTP cannot carry" in str(caught.value)
    assert SECRET not in str(caught.value)
    await client.aclose()
    listening.close()


@given(st.text("0123456789 :,.+-²١SunNovGMT", max_size=40))
def test_any_retry_after_is_understood_or_ignored(text: str) -> None:
    assert (parse_retry_after(text, NOW) or 0) >= 0


@pytest.mark.parametrize(
    "text",
    [
        "²",
        "١٢",
        "Sun, 22 Nov 99999999999 12:01:00 GMT",
        "Mon, 01 Jan 0001 00:00:00 +9999",
        "1e9",
        "nan",
    ],
)
def test_odd_retry_after(text: str) -> None:
    assert parse_retry_after(text, NOW) in (None, 0.0)


@pytest.mark.parametrize("host", ["xn--127.0.0.1", "xn--a.com", "xn--zz---", "xn--\xe9"])
def test_names_that_the_http_client_cannot_read_are_refused(host: str) -> None:
    with pytest.raises(BlockedUrlError):
        check_url(f"https://{host}/")
    check_url("https://xn--e1afmkfd.xn--p1ai/")


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        ('{"access_token":"t","expires_in":3600}', 3600),
        ('{"access_token":"t","expires_in":"60"}', 60),
        ('{"access_token":"t"}', 300),
        ('{"access_token":"t","expires_in":null}', 300),
        ('{"access_token":"t","expires_in":NaN}', 300),
        ('{"access_token":"t","expires_in":Infinity}', 300),
        ('{"access_token":"t","expires_in":1e300}', 86400),
        ('{"access_token":"t","expires_in":-5}', 0),
        ('{"access_token":"t","expires_in":' + "9" * 4000 + "}", 300),
        ('{"access_token":"t","expires_in":[1]}', 300),
        ('{"access_token":"t","expires_in":{"a":1}}', 300),
        ('{"access_token":"t","expires_in":true}', 1),
    ],
)
def test_unusual_token_lifetimes(answer: str, seconds: float) -> None:
    assert parse_token(answer) == ("t", seconds)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "no",
        "[]",
        "null",
        '"t"',
        "{}",
        '{"access_token":null}',
        '{"access_token":""}',
        '{"access_token":7}',
        '{"access_token":["t"]}',
        '{"access_token":{"access_token":"t"}}',
        '{"access_token":"s3cr3t-token-of-mine\\r\\nX-Evil: 1"}',
        '{"access_token":"s3cr3t-token-of-mine "}',
        '{"access_token":"s3cr3t-token-of-mine\\u00e9"}',
        "[" * 16000,
        '{"a":' * 3000,
        '{"access_token":"t","expires_in":' + "9" * 5000 + "}",
    ],
)
def test_an_answer_without_a_token_says_so(answer: str) -> None:
    with pytest.raises(AuthError, match=r"^the token endpoint") as caught:
        parse_token(answer)
    assert SECRET not in str(caught.value)


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

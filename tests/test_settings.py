"""Settings: errors name the variable, secrets are not shown."""

from pathlib import Path
from typing import get_type_hints

import pytest

from pytake.settings import (
    ConfigurationError,
    Settings,
    is_loopback,
    known_variables,
    load_settings,
)


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in known_variables():
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MESSAGE_TIER", "TIER_9"),
        ("WHATSAPP_MESSAGES_PER_SECOND", "0"),
        ("WHATSAPP_MESSAGES_PER_SECOND", "fast"),
        ("WHATSAPP_API_BASE_URL", "graph"),
        ("WHATSAPP_API_VERSION", "25"),
        ("DATABASE_URL", "mysql://x"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
        ("PYTAKE_PORT", "70000"),
        ("PYTAKE_LOG_FORMAT", "xml"),
        ("PYTAKE_DEFAULT_REGION", "brasil"),
        ("PYTAKE_SANDBOX", "perhaps"),
        ("PYTAKE_WEBHOOK_ALLOWED_NETWORKS", "10.0.0.0/33"),
        ("WHATSAPP_PHONE_NUMBER_ID", "+55 61"),
        ("PYTAKE_RECEIPT_WAIT_SECONDS", "-1"),
    ],
)
def test_a_wrong_value_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=rf"\A{name}: .+\Z"):
        load_settings()


def test_wrong_values_of_all_groups_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTAKE_WEBHOOK_CONCURRENCY", "WHATSAPP_TIMEOUT_SECONDS", "PYTAKE_SANDBOX_PORT"):
        monkeypatch.setenv(name, "s3cret")
    with pytest.raises(ConfigurationError) as raised:
        load_settings()
    lines = str(raised.value).splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "WHATSAPP_TIMEOUT_SECONDS",
        "PYTAKE_WEBHOOK_CONCURRENCY",
        "PYTAKE_SANDBOX_PORT",
    ]
    assert "s3cret" not in str(raised.value)


def test_a_token_needs_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHATSAPP_ACCESS_TOKEN", "EAAG-very-secret")
    with pytest.raises(ConfigurationError, match="WHATSAPP_PHONE_NUMBER_ID") as raised:
        load_settings()
    assert "EAAG" not in str(raised.value)
    monkeypatch.setenv("PYTAKE_SANDBOX", "true")
    load_settings()


def test_the_dotenv_file_is_read_and_empty_values_are_unset(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        "MESSAGE_TIER=TIER_10K\nWHATSAPP_ACCESS_TOKEN=\nPYTAKE_PORT=9000\npytake_sandbox_port=9001\n"
    )
    settings = load_settings()
    assert settings.whatsapp.tier.daily_limit == 10_000
    assert settings.whatsapp.access_token is None
    assert (settings.api.port, settings.sandbox.port) == (9000, 9001)


def test_variables_of_other_programs_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PORT", "HOST", "KEYLESS", "LOG_LEVEL", "TIER", "URL"):
        monkeypatch.setenv(name, "1")
    assert load_settings() == load_settings(env_file=None)
    assert (load_settings().api.port, load_settings().api.keyless) == (8080, None)


def test_given_values_override_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTAKE_PORT", "9000")
    monkeypatch.setenv("DATABASE_URL", "sqlite:///here.db")
    settings = load_settings({"PYTAKE_PORT": 9001, "DATABASE_URL": None})
    assert (settings.api.port, settings.storage.database_url) == (9001, None)
    with pytest.raises(ConfigurationError, match=r"\APYTAKE_PROT: no such variable\Z"):
        load_settings({"PYTAKE_PROT": 9001})


def test_secrets_are_not_shown() -> None:
    settings = load_settings(
        {
            "WHATSAPP_ACCESS_TOKEN": "EAAG",
            "WHATSAPP_PHONE_NUMBER_ID": "1",
            "WHATSAPP_APP_SECRET": "shh",
            "PYTAKE_ENCRYPTION_KEYS": "shh",
        }
    )
    assert "EAAG" not in repr(settings)
    assert "shh" not in repr(settings)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgres://u@h/d", "postgresql+psycopg://u@h/d"),
        ("postgresql://u@h/d", "postgresql+psycopg://u@h/d"),
        ("sqlite:///x.db", "sqlite:///x.db"),
    ],
)
def test_database_urls_get_their_driver(url: str, expected: str) -> None:
    assert load_settings({"DATABASE_URL": url}).storage.sqlalchemy_url == expected


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("192.168.1.2", False),
        ("example.com", False),
    ],
)
def test_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_every_variable_is_in_the_example_file() -> None:
    example = (Path(__file__).parents[1] / ".env.example").read_text()
    missing = [name for name in sorted(known_variables()) if f"#{name}=" not in example]
    assert not missing


def test_no_two_groups_read_the_same_variable() -> None:
    groups = get_type_hints(Settings).values()
    assert sum(len(group.variables()) for group in groups) == len(known_variables())

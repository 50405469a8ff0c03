"""Settings: a wrong value is named, secrets are not shown."""

from pathlib import Path

import pytest

from pytake.settings import ConfigurationError, Settings, is_loopback, load_settings


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("WHATSAPP_ACCESS_TOKEN", "MESSAGE_TIER", "PYTAKE_PORT", "DATABASE_URL"):
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
        ("PYTAKE_PORT", "70000"),
        ("PYTAKE_LOG_FORMAT", "xml"),
        ("PYTAKE_DEFAULT_REGION", "brasil"),
        ("WHATSAPP_PHONE_NUMBER_ID", "+55 61"),
        ("PYTAKE_RECEIPT_WAIT_SECONDS", "-1"),
    ],
)
def test_a_wrong_value_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=f"^{name}: "):
        load_settings()


def test_a_token_needs_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHATSAPP_ACCESS_TOKEN", "EAAG-very-secret")
    with pytest.raises(ConfigurationError, match="WHATSAPP_PHONE_NUMBER_ID") as raised:
        load_settings()
    assert "EAAG" not in str(raised.value)


def test_the_dotenv_file_is_read_and_empty_values_are_unset(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        "MESSAGE_TIER=TIER_10K\nWHATSAPP_ACCESS_TOKEN=\nPYTAKE_PORT=9000\n"
    )
    settings = load_settings()
    assert (settings.tier.daily_limit, settings.port, settings.whatsapp_access_token) == (
        10_000,
        9000,
        None,
    )


def test_secrets_are_not_shown() -> None:
    settings = Settings(
        _env_file=None,
        whatsapp_access_token="EAAG",
        whatsapp_phone_number_id="1",
        whatsapp_app_secret="shh",
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
    assert Settings(_env_file=None, database_url=url).sqlalchemy_url == expected


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
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        assert f"{alias if isinstance(alias, str) else name.upper()}=" in example, name

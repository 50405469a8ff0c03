"""The only reader of the environment and of ``.env``.

Temporal's own variables (``TEMPORAL_ADDRESS``, ``TEMPORAL_NAMESPACE``, ``TEMPORAL_API_KEY``...) are
read by ``temporalio.envconfig`` in ``pytake.temporal.client``, from the environment this module hands it.
"""

import ipaddress
import os
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from pytake.whatsapp.limits import Tier, parse_tier

SANDBOX_TOKEN = "sandbox-token"  # noqa: S105 - no secret: the sandbox accepts any token
SANDBOX_PHONE_NUMBER_ID = "106540352242922"
SANDBOX_BUSINESS_ACCOUNT_ID = "102290129340398"


class ConfigurationError(Exception):
    """A setting is wrong; the text names it and says what would be right."""


class Settings(BaseSettings):
    """Everything that can be configured; ``.env.example`` explains each variable."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        hide_input_in_errors=True,
        populate_by_name=True,
    )

    whatsapp_access_token: SecretStr | None = None
    whatsapp_phone_number_id: Annotated[str | None, Field(pattern=r"^\d{1,32}$")] = None
    whatsapp_business_account_id: Annotated[str | None, Field(pattern=r"^\d{1,32}$")] = None
    whatsapp_webhook_verify_token: SecretStr | None = None
    whatsapp_app_secret: SecretStr | None = None
    whatsapp_messages_per_second: Annotated[float, Field(gt=0, le=1000)] = 80.0
    whatsapp_api_base_url: str = "https://graph.facebook.com"
    whatsapp_api_version: Annotated[str, Field(pattern=r"^v\d+\.\d+$")] = "v25.0"
    whatsapp_timeout_seconds: Annotated[float, Field(gt=0, le=120)] = 20.0
    message_tier: str = "TIER_0"
    database_url: str | None = None

    data_dir: Path = Field(default=Path(".pytake"), validation_alias="PYTAKE_DATA_DIR")
    host: str = Field(default="127.0.0.1", validation_alias="PYTAKE_HOST")
    port: int = Field(default=8080, ge=1, le=65535, validation_alias="PYTAKE_PORT")
    keyless: bool | None = Field(default=None, validation_alias="PYTAKE_KEYLESS")
    sandbox: bool = Field(default=False, validation_alias="PYTAKE_SANDBOX")
    sandbox_port: int = Field(default=8090, ge=1, le=65535, validation_alias="PYTAKE_SANDBOX_PORT")
    sandbox_callback_url: str | None = Field(
        default=None, validation_alias="PYTAKE_SANDBOX_CALLBACK_URL"
    )
    temporal_ui_url: str = Field(
        default="http://127.0.0.1:8233", validation_alias="PYTAKE_TEMPORAL_UI_URL"
    )
    default_region: str = Field(
        default="BR", pattern=r"^[A-Z]{2}$", validation_alias="PYTAKE_DEFAULT_REGION"
    )
    log_format: Literal["console", "json"] = Field(
        default="console", validation_alias="PYTAKE_LOG_FORMAT"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", validation_alias="PYTAKE_LOG_LEVEL"
    )
    receipt_wait_seconds: float = Field(
        default=10.0, ge=0, le=120, validation_alias="PYTAKE_RECEIPT_WAIT_SECONDS"
    )
    wait_codes: Literal["dead_letter", "redrive"] = Field(
        default="dead_letter", validation_alias="PYTAKE_WAIT_CODES"
    )
    max_concurrent_sends: int = Field(
        default=200, ge=1, le=10_000, validation_alias="PYTAKE_MAX_CONCURRENT_SENDS"
    )
    direct_sends: int = Field(default=50, ge=0, le=5_000, validation_alias="PYTAKE_DIRECT_SENDS")

    auto_responder: bool = Field(default=True, validation_alias="PYTAKE_AUTO_RESPONDER")
    default_rules: bool = Field(default=True, validation_alias="PYTAKE_DEFAULT_RULES")
    max_rules: int = Field(default=1000, ge=0, le=5000, validation_alias="PYTAKE_MAX_RULES")
    reply_debounce_seconds: float = Field(
        default=1.0, ge=0, le=60, validation_alias="PYTAKE_REPLY_DEBOUNCE_SECONDS"
    )
    reply_max_age_seconds: float = Field(
        default=3600.0, ge=10, le=82_800, validation_alias="PYTAKE_REPLY_MAX_AGE_SECONDS"
    )
    handover_silence_seconds: float = Field(
        default=14_400.0, gt=0, validation_alias="PYTAKE_HANDOVER_SILENCE_SECONDS"
    )
    loop_exchanges: int = Field(default=10, ge=1, validation_alias="PYTAKE_LOOP_EXCHANGES")
    loop_seconds: float = Field(default=120.0, gt=0, validation_alias="PYTAKE_LOOP_SECONDS")
    loop_pause_seconds: float = Field(
        default=3600.0, gt=0, validation_alias="PYTAKE_LOOP_PAUSE_SECONDS"
    )

    build_id: str = Field(
        default="", pattern=r"^[\w.+-]{0,64}$", validation_alias="PYTAKE_BUILD_ID"
    )
    workflow_sandbox: bool = Field(default=False, validation_alias="PYTAKE_WORKFLOW_SANDBOX")
    snapshot_seconds: int = Field(
        default=300, ge=0, le=86_400, validation_alias="PYTAKE_SNAPSHOT_SECONDS"
    )

    reconcile_seconds: int = Field(
        default=60, ge=0, le=3600, validation_alias="PYTAKE_RECONCILE_SECONDS"
    )
    retention_days: int = Field(default=180, ge=0, validation_alias="PYTAKE_RETENTION_DAYS")
    max_scheduled: int = Field(default=100_000, ge=0, validation_alias="PYTAKE_MAX_SCHEDULED")
    requests_per_second: float = Field(
        default=100.0, ge=0, validation_alias="PYTAKE_REQUESTS_PER_SECOND"
    )
    metrics_port: int = Field(default=9464, ge=0, le=65535, validation_alias="PYTAKE_METRICS_PORT")
    metrics_host: str = Field(default="127.0.0.1", validation_alias="PYTAKE_METRICS_HOST")
    otel_endpoint: str | None = Field(default=None, validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT")

    encryption_keys: SecretStr | None = Field(
        default=None, validation_alias="PYTAKE_ENCRYPTION_KEYS"
    )
    encrypt_payloads: bool | None = Field(default=None, validation_alias="PYTAKE_ENCRYPT_PAYLOADS")
    webhook_allowed_networks: str = Field(
        default="", validation_alias="PYTAKE_WEBHOOK_ALLOWED_NETWORKS"
    )
    webhook_ports: str = Field(
        default="", pattern=r"^[\d, ]*$", validation_alias="PYTAKE_WEBHOOK_PORTS"
    )
    webhook_concurrency: int = Field(
        default=10, ge=1, le=1000, validation_alias="PYTAKE_WEBHOOK_CONCURRENCY"
    )
    webhook_tenant_concurrency: int = Field(
        default=40, ge=1, le=10_000, validation_alias="PYTAKE_WEBHOOK_TENANT_CONCURRENCY"
    )
    webhook_min_backoff_seconds: float = Field(
        default=1.0, ge=0.05, le=3600, validation_alias="PYTAKE_WEBHOOK_MIN_BACKOFF_SECONDS"
    )
    webhook_endpoints: int = Field(default=100, ge=0, validation_alias="PYTAKE_WEBHOOK_ENDPOINTS")
    webhook_targets: int = Field(default=1000, ge=0, validation_alias="PYTAKE_WEBHOOK_TARGETS")
    webhook_event_bytes: int = Field(
        default=20_000_000, ge=0, validation_alias="PYTAKE_WEBHOOK_EVENT_BYTES"
    )
    webhook_disable_hours: float = Field(
        default=120.0, ge=0, validation_alias="PYTAKE_WEBHOOK_DISABLE_HOURS"
    )
    webhook_disable_failures: int = Field(
        default=100, ge=1, validation_alias="PYTAKE_WEBHOOK_DISABLE_FAILURES"
    )

    @field_validator("webhook_allowed_networks")
    @classmethod
    def _networks(cls, value: str) -> str:
        for part in filter(None, (part.strip() for part in value.split(","))):
            ipaddress.ip_network(part)
        return value

    @field_validator("message_tier")
    @classmethod
    def _known_tier(cls, value: str) -> str:
        return parse_tier(value).name

    @field_validator("whatsapp_api_base_url", "temporal_ui_url", "otel_endpoint")
    @classmethod
    def _http_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be an http:// or https:// address")
        return value.rstrip("/")

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(
            ("sqlite:///", "postgresql://", "postgresql+psycopg://", "postgres://")
        ):
            raise ValueError("must start with sqlite:/// or postgresql://")
        return value

    @model_validator(mode="after")
    def _number_for_token(self) -> "Settings":
        live = self.whatsapp_access_token is not None and not self.sandbox
        if live and self.whatsapp_phone_number_id is None:
            raise ValueError("WHATSAPP_PHONE_NUMBER_ID is required with WHATSAPP_ACCESS_TOKEN")
        return self

    @property
    def encrypts_payloads(self) -> bool:
        """Whether what Temporal stores is encrypted: with keys of one's own it is, unless said
        otherwise.
        """
        if self.encrypt_payloads is None:
            return self.encryption_keys is not None
        return self.encrypt_payloads

    @property
    def tier(self) -> Tier:
        """The configured messaging limit; what Meta reports for a number goes before it."""
        return parse_tier(self.message_tier)

    @property
    def phone_number_id(self) -> str:
        """The installation's number: of tenant ``default``, and of those that it is shared with."""
        return self.whatsapp_phone_number_id or SANDBOX_PHONE_NUMBER_ID

    @property
    def business_account_id(self) -> str:
        """The WABA of that number."""
        return self.whatsapp_business_account_id or SANDBOX_BUSINESS_ACCOUNT_ID

    @property
    def access_token(self) -> str:
        """The token for Meta; any text will do for the sandbox."""
        token = self.whatsapp_access_token
        return token.get_secret_value() if token else SANDBOX_TOKEN

    @property
    def app_secret(self) -> str | None:
        """The key of ``X-Hub-Signature-256``."""
        return self.whatsapp_app_secret.get_secret_value() if self.whatsapp_app_secret else None

    @property
    def sqlalchemy_url(self) -> str:
        """``DATABASE_URL`` with the driver PyTake uses; SQLite in the data directory by default."""
        url = self.database_url or f"sqlite:///{self.data_dir.resolve() / 'pytake.db'}"
        for prefix in ("postgresql://", "postgres://"):
            if url.startswith(prefix):
                return "postgresql+psycopg://" + url.removeprefix(prefix)
        return url

    @property
    def allowed_ports(self) -> frozenset[int]:
        """Ports that webhooks may go to; empty for all."""
        return frozenset(int(part) for part in self.webhook_ports.split(",") if part.strip())

    @property
    def temporal_ui_origin(self) -> str:
        """The ``Origin`` of requests that pages of the Temporal Web UI send."""
        parts = urlsplit(self.temporal_ui_url)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def serves_loopback(self) -> bool:
        """Whether the API listens on this machine only."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def load_settings() -> Settings:
    """Read the environment and ``.env``.

    Raises:
        ConfigurationError: one line for each wrong variable, by its name, without its value.
    """
    try:
        return Settings()
    except ValidationError as error:
        lines = []
        for item in error.errors():
            message = item["msg"].removeprefix("Value error, ")
            lines.append(f"{str(item['loc'][0]).upper()}: {message}" if item["loc"] else message)
        raise ConfigurationError("\n".join(lines)) from None


def temporal_environment() -> dict[str, str]:
    """The ``TEMPORAL_*`` variables of ``.env`` and the environment, the latter first."""
    values = {**dotenv_values(".env"), **os.environ}
    return {k: v for k, v in values.items() if k.startswith("TEMPORAL_") and v}

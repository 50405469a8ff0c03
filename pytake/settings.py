"""The only reader of the environment and of ``.env``: one group of settings per concern.

Temporal's own variables (``TEMPORAL_ADDRESS``, ``TEMPORAL_NAMESPACE``, ``TEMPORAL_API_KEY``...) are
read by ``temporalio.envconfig`` in ``pytake.temporal.client``, from :func:`temporal_environment`.
"""

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import AfterValidator, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from pytake.whatsapp.limits import Tier, parse_tier

SANDBOX_TOKEN = "sandbox-token"  # noqa: S105 - no secret: the sandbox accepts any token
SANDBOX_PHONE_NUMBER_ID = "106540352242922"
SANDBOX_BUSINESS_ACCOUNT_ID = "102290129340398"


class ConfigurationError(Exception):
    """A setting is not valid; the text names it and says what is allowed."""


def _http_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an http:// or https:// address")
    return value.rstrip("/")


HttpAddress = Annotated[str, AfterValidator(_http_url)]
MetaId = Annotated[str, Field(pattern=r"^\d{1,32}$")]
Port = Annotated[int, Field(ge=1, le=65535)]


class Group(BaseSettings):
    """Settings of one concern. A variable is named by the field's alias, else by the group's prefix and the
    field's name; ``.env.example`` explains each variable.
    """

    model_config = SettingsConfigDict(
        env_prefix="PYTAKE_", env_ignore_empty=True, extra="ignore", hide_input_in_errors=True
    )

    @classmethod
    def variables(cls) -> dict[str, str]:
        """Variable names by pydantic's field names (alias or name)."""
        names = {}
        for name, field in cls.model_fields.items():
            alias = field.validation_alias
            if isinstance(alias, str):
                names[alias] = alias
            else:
                names[name] = f"{cls.model_config['env_prefix']}{name}".upper()
        return names


class WhatsAppSettings(Group, env_prefix="WHATSAPP_"):
    """Meta's Cloud API: the app, the installation's number, and their limits."""

    access_token: SecretStr | None = None
    phone_number_id: MetaId = SANDBOX_PHONE_NUMBER_ID
    """The installation's number; it belongs to tenant ``default`` unless it is moved."""
    business_account_id: MetaId = SANDBOX_BUSINESS_ACCOUNT_ID
    """The WhatsApp Business account (WABA) of that number."""
    webhook_verify_token: SecretStr | None = None
    app_secret: SecretStr | None = None
    messages_per_second: float = Field(default=80.0, gt=0, le=1000)
    api_base_url: HttpAddress = "https://graph.facebook.com"
    api_version: str = Field(default="v25.0", pattern=r"^v\d+\.\d+$")
    timeout_seconds: float = Field(default=20.0, gt=0, le=120)
    message_tier: str = Field(default="TIER_0", validation_alias="MESSAGE_TIER")

    @field_validator("message_tier")
    @classmethod
    def _known_tier(cls, value: str) -> str:
        return parse_tier(value).name

    @property
    def tier(self) -> Tier:
        """The configured messaging limit; what Meta reports for a number takes precedence."""
        return parse_tier(self.message_tier)

    @property
    def bearer_token(self) -> str:
        """The token for Meta; the sandbox accepts any."""
        return self.access_token.get_secret_value() if self.access_token else SANDBOX_TOKEN

    @property
    def signature_key(self) -> str | None:
        """The key of ``X-Hub-Signature-256``."""
        return self.app_secret.get_secret_value() if self.app_secret else None


class StorageSettings(Group):
    """Where data is stored, and the keys that encrypt it."""

    data_dir: Path = Path(".pytake")
    database_url: str | None = Field(default=None, validation_alias="DATABASE_URL")
    encryption_keys: SecretStr | None = None
    encrypt_payloads: bool | None = None

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(
            ("sqlite:///", "postgresql://", "postgresql+psycopg://", "postgres://")
        ):
            raise ValueError("must start with sqlite:/// or postgresql://")
        return value

    @property
    def sqlalchemy_url(self) -> str:
        """``DATABASE_URL`` with the driver PyTake uses; SQLite in the data directory by default."""
        url = self.database_url or f"sqlite:///{self.data_dir.resolve() / 'pytake.db'}"
        for prefix in ("postgresql://", "postgres://"):
            if url.startswith(prefix):
                return "postgresql+psycopg://" + url.removeprefix(prefix)
        return url

    @property
    def encrypts_payloads(self) -> bool:
        """Whether Temporal's payloads are encrypted: by default, if encryption keys are configured."""
        if self.encrypt_payloads is None:
            return self.encryption_keys is not None
        return self.encrypt_payloads


class ApiSettings(Group):
    """Where the API listens, and whom it serves."""

    host: str = "127.0.0.1"
    port: Port = 8080
    keyless: bool | None = None
    requests_per_second: float = Field(default=100.0, ge=0)
    temporal_ui_url: HttpAddress = "http://127.0.0.1:8233"

    @property
    def temporal_ui_origin(self) -> str:
        """The ``Origin`` of requests that pages of the Temporal Web UI send."""
        parts = urlsplit(self.temporal_ui_url)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def serves_loopback(self) -> bool:
        """Whether the API listens on this machine only."""
        return is_loopback(self.host)


class MessageSettings(Group):
    """How messages are accepted and sent."""

    default_region: str = Field(default="BR", pattern=r"^[A-Z]{2}$")
    max_scheduled: int = Field(default=100_000, ge=0)
    max_concurrent_sends: int = Field(default=200, ge=1, le=10_000)
    direct_sends: int = Field(default=50, ge=0, le=5_000)
    receipt_wait_seconds: float = Field(default=10.0, ge=0, le=120)
    wait_codes: Literal["dead_letter", "redrive"] = "dead_letter"


class ConversationSettings(Group):
    """The auto-responder."""

    auto_responder: bool = True
    default_rules: bool = True
    max_rules: int = Field(default=1000, ge=0, le=5000)
    reply_debounce_seconds: float = Field(default=1.0, ge=0, le=60)
    reply_max_age_seconds: float = Field(default=3600.0, ge=10, le=82_800)
    handover_silence_seconds: float = Field(default=14_400.0, gt=0)
    loop_exchanges: int = Field(default=10, ge=1)
    loop_seconds: float = Field(default=120.0, gt=0)
    loop_pause_seconds: float = Field(default=3600.0, gt=0)


class WebhookSettings(Group, env_prefix="PYTAKE_WEBHOOK_"):
    """Deliveries to tenants' endpoints."""

    allowed_networks: str = ""
    ports: str = Field(default="", pattern=r"^[\d, ]*$")
    concurrency: int = Field(default=10, ge=1, le=1000)
    tenant_concurrency: int = Field(default=40, ge=1, le=10_000)
    min_backoff_seconds: float = Field(default=1.0, ge=0.05, le=3600)
    endpoints: int = Field(default=100, ge=0)
    targets: int = Field(default=1000, ge=0)
    event_bytes: int = Field(default=20_000_000, ge=0)
    disable_hours: float = Field(default=120.0, ge=0)
    disable_failures: int = Field(default=100, ge=1)

    @field_validator("allowed_networks")
    @classmethod
    def _networks(cls, value: str) -> str:
        for part in filter(None, (part.strip() for part in value.split(","))):
            ipaddress.ip_network(part)
        return value

    @property
    def allowed_ports(self) -> frozenset[int]:
        """Ports that webhooks may go to; empty for all."""
        return frozenset(int(part) for part in self.ports.split(",") if part.strip())


class WorkerSettings(Group):
    """The worker process and its scheduled jobs."""

    build_id: str = Field(default="", pattern=r"^[\w.+-]{0,64}$")
    workflow_sandbox: bool = False
    snapshot_seconds: int = Field(default=300, ge=0, le=86_400)
    reconcile_seconds: int = Field(default=60, ge=0, le=3600)
    retention_days: int = Field(default=180, ge=0)


class TelemetrySettings(Group):
    """Logs, metrics and traces."""

    log_format: Literal["console", "json"] = "console"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    metrics_port: int = Field(default=9464, ge=0, le=65535)
    metrics_host: str = "127.0.0.1"
    otel_endpoint: HttpAddress | None = Field(
        default=None, validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT"
    )


class SandboxSettings(Group, env_prefix="PYTAKE_SANDBOX_"):
    """The stand-in for Meta on this machine."""

    enabled: bool = Field(default=False, validation_alias="PYTAKE_SANDBOX")
    port: Port = 8090
    callback_url: str | None = None


@dataclass(frozen=True)
class Settings:
    """Everything that can be configured."""

    whatsapp: WhatsAppSettings
    storage: StorageSettings
    api: ApiSettings
    messages: MessageSettings
    conversations: ConversationSettings
    webhooks: WebhookSettings
    worker: WorkerSettings
    telemetry: TelemetrySettings
    sandbox: SandboxSettings


_GROUPS: dict[str, type[Group]] = get_type_hints(Settings)


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def known_variables() -> frozenset[str]:
    """The names of all variables that are read here."""
    return frozenset(name for group in _GROUPS.values() for name in group.variables().values())


def load_settings(
    given: Mapping[str, Any] | None = None, *, env_file: str | None = ".env"
) -> Settings:
    """Read the environment and ``.env``.

    Args:
        given: values by variable name, which override the environment.
        env_file: the file to read as well; the environment overrides it.

    Raises:
        ConfigurationError: one line per wrong variable, with its name but not its value.
    """
    given = given or {}
    wrong = [f"{name}: no such variable" for name in sorted(given.keys() - known_variables())]
    read: dict[str, Group] = {}
    for name, group in _GROUPS.items():
        variables = group.variables()
        mine = {key: given[variable] for key, variable in variables.items() if variable in given}
        try:
            read[name] = group(_env_file=env_file, **mine)
        except ValidationError as error:
            for item in error.errors():
                message = item["msg"].removeprefix("Value error, ")
                wrong.append(f"{variables[str(item['loc'][0])]}: {message}")
    if wrong:
        raise ConfigurationError("\n".join(wrong))
    settings = Settings(**read)  # type: ignore[arg-type]  # each group under its own field
    live = settings.whatsapp.access_token is not None and not settings.sandbox.enabled
    if live and "phone_number_id" not in settings.whatsapp.model_fields_set:
        raise ConfigurationError("WHATSAPP_PHONE_NUMBER_ID is required with WHATSAPP_ACCESS_TOKEN")
    return settings


def temporal_environment() -> dict[str, str]:
    """The ``TEMPORAL_*`` variables of ``.env`` and the environment, which takes precedence."""
    values = {**dotenv_values(".env"), **os.environ}
    return {k: v for k, v in values.items() if k.startswith("TEMPORAL_") and v}

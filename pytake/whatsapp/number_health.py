"""The health of a number as reported by Meta."""

from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

_OLDER_RATINGS: Final = {"HIGH": "GREEN", "MEDIUM": "YELLOW", "LOW": "RED"}


_RATINGS: Final = ("GREEN", "YELLOW", "RED")


class EntityError(BaseModel):
    """Why an entity cannot send, and what Meta says to do."""

    code: int | None = None
    description: str = ""
    solution: str = ""


class Entity(BaseModel):
    """One link of the chain from the app to the number."""

    entity_type: str
    id: str
    can_send_message: str
    errors: list[EntityError] = Field(default_factory=list)


class NumberHealth(BaseModel):
    """A number's fields as reported by Meta; ``None`` or UNKNOWN for what it does not report."""

    model_config = ConfigDict(extra="ignore")

    display_phone_number: str | None = None
    verified_name: str | None = None
    status: str = "UNKNOWN"
    quality_rating: str = "UNKNOWN"
    throughput_level: str | None = None
    name_status: str | None = None
    code_verification_status: str | None = None
    platform_type: str | None = None
    messaging_limit: str | None = None
    can_send_message: str = "UNKNOWN"
    entities: list[Entity] = Field(default_factory=list)


def read_health(body: dict[str, Any]) -> NumberHealth:
    """Read a phone number node; missing or malformed fields stay unknown."""
    throughput, health = body.get("throughput"), body.get("health_status")
    health = health if isinstance(health, dict) else {}
    quality = str(body.get("quality_rating") or "UNKNOWN").upper()
    quality = _OLDER_RATINGS.get(quality, quality)
    return NumberHealth(
        display_phone_number=_text(body.get("display_phone_number")),
        verified_name=_text(body.get("verified_name")),
        status=(_text(body.get("status")) or "UNKNOWN").upper(),
        quality_rating=quality if quality in _RATINGS else "UNKNOWN",
        throughput_level=_text(throughput.get("level")) if isinstance(throughput, dict) else None,
        name_status=_text(body.get("name_status")),
        code_verification_status=_text(body.get("code_verification_status")),
        platform_type=_text(body.get("platform_type")),
        messaging_limit=_text(body.get("whatsapp_business_manager_messaging_limit")),
        can_send_message=(_text(health.get("can_send_message")) or "UNKNOWN").upper(),
        entities=[_entity(item) for item in _objects(health.get("entities"))],
    )


def _entity(item: dict[str, Any]) -> Entity:
    return Entity(
        entity_type=str(item.get("entity_type") or "UNKNOWN"),
        id=str(item.get("id") or ""),
        can_send_message=str(item.get("can_send_message") or "UNKNOWN").upper(),
        errors=[
            EntityError(
                code=error.get("error_code") if isinstance(error.get("error_code"), int) else None,
                description=str(error.get("error_description") or ""),
                solution=str(error.get("possible_solution") or ""),
            )
            for error in _objects(item.get("errors"))
        ],
    )


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None

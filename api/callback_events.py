"""Events for tenants that a request of Meta's callback stands for."""

import hashlib
import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from api.dependencies import DEFAULT_TENANT
from api.tiers import LimitChange
from pytake.domain.events import EventType, NumberEvent, ReceivedEvent
from pytake.storage.events import NewEvent
from pytake.storage.message_events import conversation_of
from pytake.whatsapp.inbound import Callback, OtherUpdate


def callback_events(
    callback: Callback, limits: list[LimitChange], owners: dict[str, str], at: datetime
) -> Iterator[NewEvent]:
    """Inbound messages, and changes of a number's quality and limit."""
    for item in callback.messages:
        data = ReceivedEvent(
            wamid=item.wamid, phone_number_id=item.phone_number_id, contact=item.wa_id or item.contact_key,
            name=item.name, type=item.type, at=item.at, message=item.payload,
        )  # fmt: skip
        yield NewEvent(
            owners.get(item.phone_number_id, DEFAULT_TENANT), EventType.MESSAGE_RECEIVED.value, item.wamid,
            data.model_dump(mode="json"), min(item.at, at), conversation_of(item.phone_number_id, item.contact_key),
        )  # fmt: skip
    for update in callback.others:
        tenant_id = owners.get(update.phone_number_id or "", DEFAULT_TENANT)
        if update.field == "phone_number_quality_update" and isinstance(update.payload, dict):
            payload = update.payload
            number = NumberEvent(
                phone_number_id=update.phone_number_id, at=at, state=_text(payload.get("event")),
                before=_text(payload.get("old_limit")), after=_text(payload.get("current_limit")),
            )  # fmt: skip
            yield _event(
                tenant_id,
                EventType.NUMBER_QUALITY_CHANGED,
                update,
                number.model_dump(mode="json"),
                at,
            )
    for change in limits:
        tenant_id = owners.get(change.phone_number_id or "", DEFAULT_TENANT)
        data_changed = NumberEvent(
            phone_number_id=change.phone_number_id, at=at, before=change.before, after=change.after
        )
        key = f"{change.phone_number_id}:{change.after}:{at.isoformat()}"
        yield NewEvent(
            tenant_id,
            EventType.NUMBER_LIMIT_CHANGED.value,
            key,
            data_changed.model_dump(mode="json"),
            at,
        )


def _event(
    tenant_id: str, kind: EventType, update: OtherUpdate, data: dict[str, Any], at: datetime
) -> NewEvent:
    """One event an hour for the same content: Meta's repeats are no news."""
    content = json.dumps([update.phone_number_id, update.payload], sort_keys=True)
    key = f"{hashlib.sha256(content.encode()).hexdigest()}:{at:%Y-%m-%dT%H}"
    return NewEvent(tenant_id, kind.value, key, data, at)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None

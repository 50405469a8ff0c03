"""The events for tenants that a callback request gives rise to."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from pytake.callback.limits import LimitChange
from pytake.callback.owners import Owners
from pytake.callback.parse import Update
from pytake.conversations.inbound import Inbound
from pytake.tenants import DEFAULT_TENANT
from pytake.webhooks.event_types import EventType, NumberEvent, ReceivedEvent
from pytake.webhooks.events import NewEvent
from pytake.webhooks.ordering import conversation_of


def callback_events(
    messages: list[Inbound],
    updates: Iterable[Update],
    limits: list[LimitChange],
    owners: Owners,
    at: datetime,
) -> Iterator[NewEvent]:
    """Events for inbound messages, and for changes of a number's quality and limit.

    Messages to an unregistered number raise no event.
    """
    for item in messages:
        tenant_id = owners.of_number(item.phone_number_id)
        if tenant_id is None:
            continue
        data = ReceivedEvent(
            wamid=item.wamid,
            phone_number_id=item.phone_number_id,
            contact=item.wa_id or item.contact_key,
            name=item.name,
            type=item.type,
            at=item.at,
            group_id=item.group_id,
            message=item.payload,
        )
        yield NewEvent(
            tenant_id,
            EventType.MESSAGE_RECEIVED.value,
            item.wamid,
            data.model_dump(mode="json"),
            item.at,
            conversation_of(item.phone_number_id, item.group_id or item.contact_key),
        )
    for update in updates:
        if update.field == "phone_number_quality_update" and isinstance(update.payload, dict):
            payload = update.payload
            number = NumberEvent(
                phone_number_id=update.phone_number_id,
                at=at,
                state=_text(payload.get("event")),
                before=_text(payload.get("old_limit")),
                after=_text(payload.get("current_limit")),
            )
            yield NewEvent(
                owners.of(update),
                EventType.NUMBER_QUALITY_CHANGED.value,
                update.key(at),
                number.model_dump(mode="json"),
                at,
            )
    for change in limits:
        tenant_id = owners.of_number(change.phone_number_id) or DEFAULT_TENANT
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


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None

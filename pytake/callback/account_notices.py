"""Account and template updates from Meta, as events for tenants and alerts for people.

Source of the fields and their values: Meta's webhook reference (account_update, account_alerts,
message_template_status_update, message_template_quality_update, template_category_update; read 2026).
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from pytake.texts import say
from pytake.webhooks.event_types import AccountEvent, EventType, TemplateEvent

_TEXT: Final = 300
"""Most characters that an alert shows of one of Meta's texts."""
_ACCOUNT: Final[dict[str, tuple[EventType, str | None]]] = {
    "ACCOUNT_RESTRICTION": (EventType.ACCOUNT_RESTRICTED, "account_restricted"),
    "ACCOUNT_VIOLATION": (EventType.ACCOUNT_VIOLATION_REPORTED, "account_violation"),
    "DISABLED_UPDATE": (EventType.ACCOUNT_DISABLED, "account_disabled"),
    "PARTNER_REMOVED": (EventType.ACCOUNT_PARTNER_REMOVED, "account_partner_removed"),
    "PARTNER_APP_UNINSTALLED": (EventType.ACCOUNT_PARTNER_REMOVED, "account_partner_removed"),
    "ACCOUNT_OFFBOARDED": (EventType.ACCOUNT_OFFBOARDED, "account_offboarded"),
    "ACCOUNT_DELETED": (EventType.ACCOUNT_DELETED, "account_deleted"),
    "ACCOUNT_RECONNECTED": (EventType.ACCOUNT_RECONNECTED, None),
    "PARTNER_ADDED": (EventType.ACCOUNT_UPDATED, None),
    "PARTNER_APP_INSTALLED": (EventType.ACCOUNT_UPDATED, None),
}
_ACCOUNT_ENDS: Final[dict[str, tuple[str, ...]]] = {
    "ACCOUNT_RECONNECTED": ("account_offboarded", "account_partner_removed"),
    "PARTNER_ADDED": ("account_partner_removed",),
    "PARTNER_APP_INSTALLED": ("account_partner_removed",),
}
_STOPPED: Final[dict[str, tuple[str, str]]] = {
    "PAUSED": ("template_paused", "critical"),
    "DISABLED": ("template_disabled", "critical"),
    "REJECTED": ("template_rejected", "warning"),
    "FLAGGED": ("template_flagged", "warning"),
    "LOCKED": ("template_locked", "warning"),
}
_STATES: Final = tuple(kind for kind, _ in _STOPPED.values())
_USABLE: Final = ("APPROVED", "REINSTATED", "UNARCHIVED", "DELETED", "PENDING_DELETION")
"""Events after which a template is usable, or gone."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One update: an event with ``data``, and (if ``alert`` is set) an alert of that kind."""

    event: EventType
    data: AccountEvent | TemplateEvent
    alert: str | None = None
    severity: str = "critical"
    detail: str = ""
    subject: str = ""
    """Prefix of alert details: alerts of the kinds in ``ends`` whose detail starts with it are over."""
    ends: tuple[str, ...] = ()
    phone_number_id: str | None = None
    """The number concerned, if any."""


def notice(field: str, value: Any, account: str | None, at: datetime) -> Notice | None:
    """The notice for an update; ``None`` for fields other than those of accounts and templates.

    ``at`` is when it happened. Never fails: values that are not as Meta documents are left out.
    """
    if not isinstance(value, dict):
        return None
    if field == "account_update":
        return _account_update(value, account, at)
    if field == "account_alerts":
        return _account_alert(value, account, at)
    if field == "message_template_status_update":
        return _template_status(value, account, at)
    if field == "message_template_quality_update":
        return _template_quality(value, account, at)
    if field == "template_category_update":
        return _template_category(value, account, at)
    return None


def _account_update(value: dict[str, Any], account: str | None, at: datetime) -> Notice:
    name = _text(value.get("event")) or "UNKNOWN"
    event, alert = _ACCOUNT.get(name, (EventType.ACCOUNT_UPDATED, None))
    what, ends = name, _ACCOUNT_ENDS.get(name, ())
    if name == "ACCOUNT_RESTRICTION":
        listed = value.get("restriction_info")
        restrictions = listed if isinstance(listed, list) else [listed]
        what = ", ".join(_restriction(item) for item in restrictions if isinstance(item, dict))
    elif name == "ACCOUNT_VIOLATION":
        what = _text(_part(value, "violation_info").get("violation_type"))
    elif name == "DISABLED_UPDATE":
        ban = _part(value, "ban_info")
        state = ban.get("waba_ban_state")
        what = _text(state[0] if isinstance(state, list) and state else state)
        if what == "REINSTATE":
            event, alert, ends = EventType.ACCOUNT_REINSTATED, None, ("account_disabled",)
        elif date := _text(ban.get("waba_ban_date")):
            what = f"{what}, {date}"
    elif reason := _text(value.get("reason")):
        what = f"{name}, {reason}"
    return _of_account(event, alert, "critical", value, account, name, what, at, ends)


def _restriction(item: dict[str, Any]) -> str:
    kind, until = _text(item.get("restriction_type")), item.get("expiration")
    if not isinstance(until, int) or isinstance(until, bool) or not 0 < until < 2**33:
        return kind
    return f"{kind} until {datetime.fromtimestamp(until, tz=UTC):%Y-%m-%d %H:%M} UTC"


def _account_alert(value: dict[str, Any], account: str | None, at: datetime) -> Notice:
    info = _part(value, "alert_info") or value
    name = _text(info.get("alert_type")) or "UNKNOWN"
    severity, status = _text(info.get("alert_severity")), _text(info.get("alert_status"))
    what = name
    if description := _text(info.get("alert_description")):
        what = f"{name}, {description}"
    over = status == "NONE"
    raises = not over and severity != "INFORMATIONAL"
    number = _text(value.get("entity_id")) if value.get("entity_type") == "PHONE_NUMBER" else None
    return _of_account(
        EventType.ACCOUNT_ALERT_RAISED,
        "account_alert" if raises else None,
        "critical" if severity == "CRITICAL" else "warning",
        value,
        account,
        name,
        what,
        at,
        ("account_alert",) if over else (),
        number or None,
    )


def _of_account(
    event: EventType,
    alert: str | None,
    severity: str,
    value: dict[str, Any],
    account: str | None,
    name: str,
    what: str,
    at: datetime,
    ends: tuple[str, ...],
    phone_number_id: str | None = None,
) -> Notice:
    about = f"{account or '?'}:"
    detail = f"{about} {what or name}"
    data = AccountEvent(
        account_id=account,
        phone_number_id=phone_number_id,
        event=name,
        at=at,
        title=say(alert, "en", value=detail) if alert else name,
        advice=say(f"{alert}.advice", "en", value=detail) if alert else "",
        update=value,
    )
    subject = f"{about} {name}" if event is EventType.ACCOUNT_ALERT_RAISED else about
    return Notice(event, data, alert, severity, detail, subject, ends, phone_number_id)


def _template_status(value: dict[str, Any], account: str | None, at: datetime) -> Notice:
    status = _text(value.get("event")) or "UNKNOWN"
    reason = _text(value.get("reason"))
    reason = "" if reason == "NONE" else reason
    for part, name in (("other_info", "title"), ("rejection_info", "reason")):
        reason = reason or _text(_part(value, part).get(name))
    alert, severity = _STOPPED.get(status, (None, "warning"))
    ends = tuple(kind for kind in _STATES if kind != alert) if alert or status in _USABLE else ()
    return _of_template(
        EventType.TEMPLATE_STATUS_CHANGED,
        alert,
        severity,
        value,
        account,
        at,
        ends,
        after=status,
        reason=reason,
        detail=reason,
    )


def _template_quality(value: dict[str, Any], account: str | None, at: datetime) -> Notice:
    before, after = (_text(value.get(f"{name}_quality_score")) for name in ("previous", "new"))
    red = after == "RED"
    return _of_template(
        EventType.TEMPLATE_QUALITY_CHANGED,
        "template_quality_red" if red else None,
        "warning",
        value,
        account,
        at,
        () if red else ("template_quality_red",),
        before=before,
        after=after,
    )


def _template_category(value: dict[str, Any], account: str | None, at: datetime) -> Notice:
    before, after = _text(value.get("previous_category")), _text(value.get("new_category"))
    to_come = _text(value.get("correct_category"))
    impending = bool(to_come) and not before
    if impending:
        before, after = after, to_come
    return _of_template(
        EventType.TEMPLATE_CATEGORY_CHANGED,
        "template_category_impending" if impending else "template_recategorised",
        "warning",
        value,
        account,
        at,
        () if impending else ("template_category_impending",),
        before=before,
        after=after,
        impending=impending,
        detail=f"{before or '?'} -> {after or '?'}",
    )


def _of_template(
    event: EventType,
    alert: str | None,
    severity: str,
    value: dict[str, Any],
    account: str | None,
    at: datetime,
    ends: tuple[str, ...],
    *,
    before: str = "",
    after: str = "",
    reason: str = "",
    impending: bool = False,
    detail: str = "",
) -> Notice:
    name = _text(value.get("message_template_name")) or "?"
    # The callback writes en-US and a number where the API has en_US and a text.
    language = _text(value.get("message_template_language")).replace("-", "_") or None
    about = f"{name} ({language})"
    detail = f"{about}: {detail}" if detail else about
    data = TemplateEvent(
        account_id=account,
        template_id=_text(value.get("message_template_id")) or None,
        name=name,
        language=language,
        at=at,
        before=before or None,
        after=after or None,
        reason=reason or None,
        impending=impending,
        advice=say(f"{alert}.advice", "en", value=about) if alert else "",
        update=value,
    )
    return Notice(event, data, alert, severity, detail, about, ends)


def _part(value: dict[str, Any], name: str) -> dict[str, Any]:
    part = value.get(name)
    return part if isinstance(part, dict) else {}


def _text(value: Any) -> str:
    known = isinstance(value, str | int) and not isinstance(value, bool)
    return str(value)[:_TEXT] if known else ""

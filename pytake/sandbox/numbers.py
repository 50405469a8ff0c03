"""The sandbox's phone numbers as the Graph API and its webhooks give them."""

import hashlib
from typing import Any

from pytake.sandbox.state import SandboxState


def display_phone_number(state: SandboxState, number: str) -> str:
    """A number as shown to people: as set through the control API, else derived from its id."""
    given = state.numbers.get(number, {}).get("display_phone_number")
    if isinstance(given, str) and any(map(str.isdecimal, given)):
        return given
    if number == state.default_number:
        return "+55 61 3333-0000"
    digits = f"{int.from_bytes(hashlib.sha256(number.encode()).digest()[:8]) % 10**8:08d}"
    return f"+55 61 9{digits[:4]}-{digits[4:]}"


def display_digits(state: SandboxState, number: str) -> str:
    """The digits of :func:`display_phone_number`, as in webhooks."""
    return "".join(filter(str.isdecimal, display_phone_number(state, number)))


def known_numbers(state: SandboxState) -> list[str]:
    """The numbers of the account: the default one, those set, and those that were called."""
    return list(dict.fromkeys([state.default_number, *state.numbers, *state.called]))


def business_profile(state: SandboxState, number: str) -> dict[str, Any]:
    """What WhatsApp shows of a number's business."""
    fields = {
        "about": "Sandbox",
        "address": "",
        "description": "",
        "email": "",
        "profile_picture_url": "",
        "websites": [],
        "vertical": "OTHER",
    }
    return {**fields, **state.profiles.get(number, {}), "messaging_product": "whatsapp"}


def number_node(state: SandboxState, number: str) -> dict[str, Any]:
    """The fields of a phone number, including those set through the control API."""
    fields: dict[str, Any] = {
        "id": number,
        "verified_name": "PyTake Sandbox",
        "quality_rating": "GREEN",
        "status": "CONNECTED",
        "name_status": "APPROVED",
        "code_verification_status": "VERIFIED",
        "platform_type": "CLOUD_API",
        "account_mode": "SANDBOX",
        "is_official_business_account": False,
        "throughput": {"level": "HIGH" if state.limits.throughput > 80 else "STANDARD"},
        "whatsapp_business_manager_messaging_limit": state.tier,
        "health_status": {
            "can_send_message": "AVAILABLE",
            "entities": [
                {"entity_type": "PHONE_NUMBER", "id": number, "can_send_message": "AVAILABLE"},
                {"entity_type": "WABA", "id": state.account, "can_send_message": "AVAILABLE"},
            ],
        },
    }
    shown = {"display_phone_number": display_phone_number(state, number)}
    return {**fields, **state.numbers.get(number, {}), **shown}

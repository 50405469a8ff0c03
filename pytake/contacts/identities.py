"""Who a message goes to: phone numbers and business-scoped user ids.

Brazilian mobile numbers exist with and without the ninth digit, and Meta may answer with the other
form than the one sent to. :func:`contact_key` maps both to one contact.
"""

import re
from typing import Final

import phonenumbers

_USER_ID: Final = re.compile(r"[A-Z]{2}\.[A-Za-z0-9]{1,100}")
_BRAZIL_WITHOUT_NINE: Final = re.compile(r"55([1-9]\d)([6-9]\d{7})")


class InvalidRecipientError(ValueError):
    """The text is not a phone number that a message could go to."""


def is_phone_number_id(text: str) -> bool:
    """Whether ``text`` can be Meta's id of a number or an account: 1 to 32 digits."""
    return 0 < len(text) <= 32 and text.isascii() and text.isdigit()


def is_user_id(text: str) -> bool:
    """Whether ``text`` is a business-scoped user id (``BR.1a2b3c``), which stands in for a number."""
    return _USER_ID.fullmatch(text) is not None


def normalise(text: str, default_region: str = "BR") -> str:
    """The recipient's stored form: digits with country code, or the user id unchanged.

    ``+55 61 99401-3828``, ``5561994013828`` and ``(61) 99401-3828`` (with ``default_region`` BR)
    are the same recipient. A number without a plus is read with its country code or as a national
    one, whichever exists. Only the length is enforced: Meta knows which numbers exist.

    Raises:
        InvalidRecipientError: the text says what is wrong.
    """
    text = text.strip()
    if is_user_id(text):
        return text
    digits = re.sub(r"\D", "", text)
    if not digits or re.search(r"[^\d\s()+.\-/]", text):
        raise InvalidRecipientError(
            "not a phone number: write the country code and number in digits, like 5561994013828"
        )
    candidates = [f"+{digits}"] if text.startswith("+") else [f"+{digits}", digits]
    numbers = [number for candidate in candidates if (number := _parse(candidate, default_region))]
    for is_plausible in (phonenumbers.is_valid_number, phonenumbers.is_possible_number):
        for number in numbers:
            if is_plausible(number):
                return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)[1:]
    raise InvalidRecipientError(
        "not a possible phone number: write the country code and number in digits, like 5561994013828"
    )


def _parse(text: str, region: str) -> phonenumbers.PhoneNumber | None:
    try:
        return phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None


def contact_key(recipient: str) -> str:
    """One key per contact: Brazilian mobile numbers always with the ninth digit.

    Takes the digits of Meta's ``wa_id``, ``from`` or ``recipient_id``, or a user id.
    """
    if match := _BRAZIL_WITHOUT_NINE.fullmatch(recipient):
        return f"55{match[1]}9{match[2]}"
    return recipient

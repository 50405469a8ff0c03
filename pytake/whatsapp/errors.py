"""What Meta's error codes mean and what a person should do about each.

One table, one rule for codes that are not in it (:func:`rule_for`). The table is long, and stays in one
module so that a code is found, and compared with its neighbours, in one place.

Branch on the code, never on the HTTP status or the title: Meta documents both as unstable.

Sources: ``DOCS`` is Meta's "Cloud API error codes" page; ``GRAPH`` is Meta's "Graph API: handling
errors" page, for the codes every Graph endpoint shares.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

DOCS: Final = "https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes"
GRAPH: Final = "https://developers.facebook.com/docs/graph-api/guides/error-handling"


class ErrorClass(StrEnum):
    """What PyTake does about an error."""

    TRANSIENT = "transient"
    """Try again with exponential back-off; spends an attempt."""
    THROTTLED_NUMBER = "throttled_number"
    """The number sends too fast: slow it down; the message waits in the queue."""
    THROTTLED_RECIPIENT = "throttled_recipient"
    """Too many messages to this recipient: only this message waits."""
    WAIT = "wait"
    """Meta will refuse this message for hours: dead letter, or redrive after the wait."""
    PERMANENT = "permanent"
    """This message can never be sent as it is."""
    HALT = "halt"
    """Nothing can be sent from this number until a person or Meta acts: put it on hold."""
    AMBIGUOUS = "ambiguous"
    """The request may have reached Meta: look for a receipt before trying again."""
    EXPIRED = "expired"
    """The message expired while it waited."""


@dataclass(frozen=True, slots=True)
class ErrorRule:
    """One row of the table.

    ``wait_seconds`` is how long Meta asks for: the length of a number's pause for
    ``THROTTLED_NUMBER`` and ``HALT`` (0: slow down, or probe with back-off), the wait before a
    redrive for ``WAIT``.
    """

    code: int
    error_class: ErrorClass
    title: str
    advice: str
    source: str = DOCS
    wait_seconds: int = 0


_T = ErrorClass.TRANSIENT
_N = ErrorClass.THROTTLED_NUMBER
_R = ErrorClass.THROTTLED_RECIPIENT
_W = ErrorClass.WAIT
_P = ErrorClass.PERMANENT
_H = ErrorClass.HALT
_HOUR: Final = 3600

_TABLE: Final = (
    # Transient
    ErrorRule(1, _T, "API unknown", "Meta had an internal problem; PyTake tries again.", GRAPH),
    ErrorRule(
        2, _T, "API service", "Meta's service is down for a moment; PyTake tries again.", GRAPH
    ),
    ErrorRule(
        131000,
        _T,
        "Something went wrong",
        "Meta failed for an unknown reason; PyTake looks for a receipt, then tries again.",
    ),
    ErrorRule(
        131016, _T, "Service unavailable", "A Meta service is temporarily down; PyTake tries again."
    ),
    ErrorRule(
        133004,
        _T,
        "Server temporarily unavailable",
        "Meta's server is temporarily down; PyTake tries again.",
    ),
    # The whole number is throttled
    ErrorRule(
        4,
        _N,
        "API too many calls",
        "The app reached its call limit; PyTake slows the number down. Spread the load over time.",
        GRAPH,
    ),
    ErrorRule(
        80007,
        _N,
        "Rate limit issues",
        "The WhatsApp Business account reached its rate limit; PyTake slows the number down.",
    ),
    ErrorRule(
        130429,
        _N,
        "Rate limit hit",
        "The number's throughput was exceeded; PyTake slows it down. Lower WHATSAPP_MESSAGES_PER_SECOND if this continues.",
    ),
    ErrorRule(
        17,
        _N,
        "User too many calls",
        "The token's user reached its call limit; PyTake slows the number down. Use the token of a dedicated system user, and spread the load over time.",
        GRAPH,
    ),
    ErrorRule(
        613,
        _N,
        "Calls within one hour exceeded",
        "Meta's limit of calls per hour was reached; PyTake slows the number down. Spread the load over time.",
        GRAPH,
    ),
    ErrorRule(
        131057,
        _N,
        "Account in maintenance mode",
        "Meta is upgrading the number's throughput; PyTake waits up to a minute.",
        wait_seconds=60,
    ),
    ErrorRule(
        2494100,
        _N,
        "Number in maintenance mode",
        "Meta is working on the number; PyTake waits a minute.",
        wait_seconds=60,
    ),
    ErrorRule(
        133015,
        _N,
        "Please wait before registering",
        "The number was deleted recently; PyTake waits five minutes.",
        wait_seconds=300,
    ),
    ErrorRule(
        134101,
        _N,
        "Template not synced yet",
        "The template is still being set up at Meta; PyTake waits ten minutes.",
        wait_seconds=600,
    ),
    # One recipient is throttled
    ErrorRule(
        131056,
        _R,
        "Pair rate limit hit",
        "Too many messages to this recipient in a short time; PyTake waits and tries again.",
    ),
    # Hours
    ErrorRule(
        131048,
        _H,
        "Spam rate limit hit",
        "Too many people blocked or reported the number. Check its quality in WhatsApp Manager, then resume it.",
        wait_seconds=_HOUR,
    ),
    ErrorRule(
        131049,
        _W,
        "Not delivered to keep the ecosystem healthy",
        "The recipient received enough marketing messages for now, from all businesses together: wait at least 24 hours; tries within that time can lock the recipient for up to 24 hours more.",
        wait_seconds=24 * _HOUR,
    ),
    ErrorRule(
        131064,
        _W,
        "Limited for misclassified templates",
        "Meta limits the account because templates have the wrong category: correct their category in WhatsApp Manager. The limit lifts by itself.",
        wait_seconds=6 * _HOUR,
    ),
    ErrorRule(
        132015,
        _W,
        "Template paused",
        "The template is paused for low quality (3 hours, the next time 6, then it is disabled): improve it, or wait until Meta unpauses it.",
        wait_seconds=6 * _HOUR,
    ),
    ErrorRule(
        132069,
        _W,
        "Flow throttled",
        "The flow reached its limit of messages per hour: wait, and check the flow's health.",
        wait_seconds=_HOUR,
    ),
    # Permanent for the message
    ErrorRule(
        33,
        _P,
        "Parameter value not valid",
        "The phone number id was deleted or is wrong: check WHATSAPP_PHONE_NUMBER_ID.",
        GRAPH,
    ),
    ErrorRule(
        100,
        _P,
        "Invalid parameter",
        "Meta does not accept a field of this message: compare it with the message reference.",
    ),
    ErrorRule(
        131008,
        _P,
        "Required parameter is missing",
        "A required field is missing: compare the message with the message reference.",
    ),
    ErrorRule(
        131009,
        _P,
        "Parameter value is not valid",
        "A field has a value Meta does not accept: correct it and send again.",
    ),
    ErrorRule(
        131021,
        _P,
        "Recipient cannot be sender",
        "The recipient is the sending number itself: send to another number.",
    ),
    ErrorRule(
        131026,
        _P,
        "Message undeliverable",
        "The recipient has no WhatsApp, an outdated app, or has not accepted its terms: reach them another way.",
    ),
    ErrorRule(
        131030,
        _P,
        "Recipient not in allowed list",
        "A test number may only write to its allowed list: add the recipient in the app's dashboard.",
    ),
    ErrorRule(
        131047,
        _P,
        "Re-engagement message",
        "More than 24 hours passed since the recipient's last message: send a template instead.",
    ),
    ErrorRule(
        131050,
        _P,
        "Recipient opted out of marketing",
        "The recipient stopped marketing messages from you: do not send marketing templates to them.",
    ),
    ErrorRule(
        131051,
        _P,
        "Unsupported message type",
        "Meta does not support this message type: use another.",
    ),
    ErrorRule(
        131052,
        _P,
        "Media download error",
        "Meta could not download the recipient's media, or it is over 100 MB: ask them to send it again.",
    ),
    ErrorRule(
        131053,
        _P,
        "Media upload error",
        "Meta could not fetch or accept the media: check its address, type and size.",
    ),
    ErrorRule(
        131055,
        _P,
        "Method not allowed",
        "This kind of message is not allowed for the number: check its settings in WhatsApp Manager.",
    ),
    ErrorRule(
        131062,
        _P,
        "Not to a business-scoped user id",
        "Authentication templates with one-tap, zero-tap or copy-code buttons do not go to a business-scoped user id: use the recipient's phone number.",
    ),
    ErrorRule(
        131063,
        _P,
        "Marketing templates switched off here",
        "Marketing templates are switched off for this account in the Cloud API: switch them on in WhatsApp Manager, or send by the Marketing Messages API.",
    ),
    ErrorRule(
        130403,
        _P,
        "You blocked this user",
        "Your business blocked this recipient: unblock them in WhatsApp Manager or by the block API, then send again.",
    ),
    ErrorRule(
        130497,
        _P,
        "Restricted in this country",
        "The account may not message users in the recipient's country: see Meta's policy for it, and do not send there.",
    ),
    ErrorRule(
        130472,
        _P,
        "User in an experiment",
        "The recipient is part of a Meta experiment and gets no marketing templates: wait for them to write, or use another channel.",
    ),
    ErrorRule(
        134100,
        _P,
        "Marketing templates only",
        "The Marketing Messages API takes marketing templates only: send this template by the Cloud API.",
    ),
    ErrorRule(
        134102,
        _P,
        "Not eligible for the Marketing Messages API",
        "The template or the account is not eligible for the Marketing Messages API: send by the Cloud API, or see its requirements in WhatsApp Manager.",
    ),
    ErrorRule(
        132000,
        _P,
        "Template parameter count mismatch",
        "The number of parameters differs from the template's: pass one for each placeholder.",
    ),
    ErrorRule(
        132001,
        _P,
        "Template does not exist",
        "No approved template has this name and language: check both in WhatsApp Manager.",
    ),
    ErrorRule(
        132005,
        _P,
        "Template hydrated text too long",
        "The text is too long once the parameters are filled in: shorten them.",
    ),
    ErrorRule(
        132007,
        _P,
        "Template format policy violated",
        "The template's text breaks a policy: see why in WhatsApp Manager and edit it.",
    ),
    ErrorRule(
        132008,
        _P,
        "Template parameter format violated",
        "A parameter's text is not allowed (line breaks, tabs, many spaces): clean it.",
    ),
    ErrorRule(
        132012,
        _P,
        "Template parameter format mismatch",
        "A parameter has another format than the template's: compare them.",
    ),
    ErrorRule(
        132016,
        _P,
        "Template disabled",
        "The template was paused too often and is now disabled: create another.",
    ),
    ErrorRule(
        132018,
        _P,
        "Template parameters not valid",
        "Meta could not fill in the template's parameters: compare them with the template.",
    ),
    ErrorRule(132068, _P, "Flow blocked", "The flow is blocked: correct it in WhatsApp Manager."),
    ErrorRule(
        135000,
        _P,
        "Generic user error",
        "Meta dropped this message. A new portfolio's messages are paced in batches, and after bad feedback the rest is dropped and the portfolio reviewed: see WhatsApp Manager before you send more. Without a review, compare the message with the message reference.",
    ),
    ErrorRule(
        137000,
        _P,
        "Message not allowed for this recipient",
        "Meta does not allow this message to this recipient: use another.",
    ),
    # The number or the account is halted
    ErrorRule(
        0,
        _H,
        "Authentication failed",
        "The access token is not valid: create a new one, set WHATSAPP_ACCESS_TOKEN, restart, and the number resumes.",
    ),
    ErrorRule(
        190,
        _H,
        "Access token expired",
        "The access token expired: create a new one, set WHATSAPP_ACCESS_TOKEN, restart, and the number resumes.",
    ),
    ErrorRule(
        3,
        _H,
        "Capability or permission missing",
        "The app lacks a capability: check its permissions in the app's dashboard.",
        GRAPH,
    ),
    ErrorRule(
        10,
        _H,
        "Permission denied",
        "The token lacks a permission (whatsapp_business_messaging): grant it, then resume the number.",
    ),
    ErrorRule(
        131005,
        _H,
        "Access denied",
        "The token lacks a permission for this number: grant it, then resume the number.",
    ),
    ErrorRule(
        368,
        _H,
        "Temporarily blocked for policy violations",
        "The account broke a policy: see WhatsApp Manager for the block and its end.",
    ),
    ErrorRule(
        131031,
        _H,
        "Account locked",
        "The account is locked or restricted: see WhatsApp Manager, and appeal there.",
    ),
    ErrorRule(
        139000,
        _H,
        "Blocked by integrity",
        "Meta blocks the account for integrity reasons: see WhatsApp Manager for the reason, and appeal there.",
    ),
    ErrorRule(
        131042,
        _H,
        "Payment problem",
        "The payment method has a problem: correct it in WhatsApp Manager, then resume the number.",
    ),
    ErrorRule(
        131044,
        _H,
        "No payment method",
        "The account has no usable payment method: add or correct it in WhatsApp Manager, then resume the number.",
    ),
    ErrorRule(
        134011,
        _H,
        "Payments terms not accepted",
        "The payment terms are not accepted yet: accept them in WhatsApp Manager.",
    ),
    ErrorRule(
        131037,
        _H,
        "Display name not approved",
        "The number needs an approved display name: request it in WhatsApp Manager.",
    ),
    ErrorRule(
        131045,
        _H,
        "Incorrect certificate",
        "The number's registration has a problem: register it again.",
    ),
    ErrorRule(
        133000,
        _H,
        "Incomplete deregistration",
        "A deregistration did not finish: deregister the number again, then register it.",
    ),
    ErrorRule(
        133005,
        _H,
        "Two-step PIN mismatch",
        "The two-step PIN is wrong: reset it, then register the number again.",
    ),
    ErrorRule(
        133006,
        _H,
        "Number needs verification",
        "The number is not verified: verify it, then register it.",
    ),
    ErrorRule(
        133008,
        _H,
        "Too many PIN guesses",
        "The two-step PIN was guessed too often: wait as Meta says, then register again.",
    ),
    ErrorRule(
        133009,
        _H,
        "PIN guessed too fast",
        "The two-step PIN was entered too fast: wait, then register again.",
    ),
    ErrorRule(
        133010,
        _H,
        "Number not registered",
        "The number is not registered with the Cloud API: register it, then resume it.",
    ),
    ErrorRule(
        133016,
        _H,
        "Registration attempts exceeded",
        "The number was registered too often: wait 72 hours, then register it.",
    ),
)

ERRORS: Final[dict[int, ErrorRule]] = {rule.code: rule for rule in _TABLE}
"""Every code that PyTake knows; subcodes that change the meaning are in :data:`BY_SUBCODE`."""

BY_SUBCODE: Final[dict[tuple[int, int], ErrorRule]] = {
    (100, 33): ErrorRule(
        100,
        _H,
        "Number gone, or no access to it",
        "The phone number id does not exist, or the token has no access to it: check the id, the token and its permissions, then resume the number.",
        GRAPH,
    ),
}
"""(code, ``error_subcode``) pairs whose meaning differs from the code's."""


def rule_for(
    code: int,
    http_status: int = 400,
    *,
    subcode: int | None = None,
    is_transient: bool | None = None,
) -> ErrorRule:
    """The rule of a code, or of its ``error_subcode`` if that changes the meaning.

    For a code that is not in the table: permission for 200-299; else what Meta's ``is_transient``
    says; without it transient if HTTP >= 500, else permanent. A body without a code is ``code=-1``.
    """
    if subcode is not None and (special := BY_SUBCODE.get((code, subcode))) is not None:
        return special
    if (rule := ERRORS.get(code)) is not None:
        return rule
    if 200 <= code <= 299:
        return ErrorRule(
            code,
            _H,
            "API permission",
            "The token lacks a permission: grant it, then resume the number.",
            GRAPH,
        )
    if is_transient or (is_transient is None and http_status >= 500):
        return ErrorRule(
            code,
            _T,
            "Unknown server error",
            "Meta had a problem; PyTake looks for a receipt, then tries again.",
        )
    return ErrorRule(
        code,
        _P,
        "Unknown error",
        "Meta refused the message: look the code up in its error reference.",
    )


def hold_rule(code: int) -> ErrorRule:
    """The rule by which ``code`` halted a number: if a code has several meanings, the one that halts."""
    stops = (rule for (of, _), rule in BY_SUBCODE.items() if of == code and rule.error_class is _H)
    return next(stops, rule_for(code))

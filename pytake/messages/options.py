"""What the settings say about accepting messages."""

from dataclasses import dataclass

from pytake.settings import Settings


@dataclass(frozen=True, slots=True)
class AcceptOptions:
    """Options of accepting messages; times in seconds."""

    phone_number_id: str
    """The configured number."""
    default_region: str
    max_scheduled: int
    direct: bool
    """Whether messages may skip the queue."""
    call_timeout: float
    receipt_wait: float


def options_of(settings: Settings) -> AcceptOptions:
    """The options that the settings describe."""
    return AcceptOptions(
        phone_number_id=settings.whatsapp.phone_number_id,
        default_region=settings.messages.default_region,
        max_scheduled=settings.messages.max_scheduled,
        direct=settings.messages.direct_sends > 0,
        call_timeout=settings.whatsapp.timeout_seconds,
        receipt_wait=settings.messages.receipt_wait_seconds,
    )

"""Which number a tenant sends from: its own, or one shared with it."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

INSTALLATION: Final = ""
"""In place of a number's id: the number that is configured (``WHATSAPP_PHONE_NUMBER_ID``)."""


class SenderError(ValueError):
    """The tenant cannot send from such a number; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Sender:
    """A number that messages go out from."""

    phone_number_id: str
    tenant_id: str
    """Its owner."""
    messages_per_second: float


class Senders:
    """The numbers of an installation, their owners, and the tenants they are shared with."""

    def __init__(
        self,
        registered: Iterable[Sender],
        shares: Iterable[tuple[str, str]],
        configured: Sender,
    ) -> None:
        """``shares`` are (tenant, number id or :data:`INSTALLATION`) pairs; the owner in ``configured``
        applies until that number is registered.
        """
        self._senders = {sender.phone_number_id: sender for sender in registered}
        known = self._senders.get(configured.phone_number_id, configured)
        self._configured = Sender(
            configured.phone_number_id, known.tenant_id, configured.messages_per_second
        )
        self._senders[configured.phone_number_id] = self._configured
        self._owned: dict[str, list[Sender]] = defaultdict(list)
        for sender in self._senders.values():
            self._owned[sender.tenant_id].append(sender)
        self._shares = frozenset(
            (tenant, number if number != INSTALLATION else configured.phone_number_id)
            for tenant, number in shares
        )

    def default(self, tenant_id: str, *, allow_unshared: bool = False) -> Sender:
        """The number for a message that names none.

        That is the configured one if it is the tenant's, else the tenant's only one, else the
        configured one if it is shared with the tenant (``allow_unshared``: even if it is not).

        Raises:
            SenderError: the tenant has several numbers, or none.
        """
        own = self._owned.get(tenant_id, [])
        if self._configured in own:
            return self._configured
        if len(own) > 1:
            listed = ", ".join(sorted(sender.phone_number_id for sender in own)[:5])
            raise SenderError(f"the tenant has several numbers ({listed}): name one of them")
        if own:
            return own[0]
        if allow_unshared or self._is_shared(tenant_id, self._configured):
            return self._configured
        raise SenderError(
            "the tenant has no number: give it one with `pytake number add`, or let it use the "
            "installation's with `pytake number share`"
        )

    def named(self, tenant_id: str, phone_number_id: str, *, any_owner: bool = False) -> Sender:
        """The number that a message names.

        Raises:
            SenderError: it is not registered, or (without ``any_owner``) neither the tenant's nor
                shared with it; the text does not reveal which.
        """
        sender = self._senders.get(phone_number_id)
        if sender is None and any_owner:
            raise SenderError("is not registered: add it with `pytake number add`, or leave it out")
        if sender is None or not (
            any_owner or sender.tenant_id == tenant_id or self._is_shared(tenant_id, sender)
        ):
            raise SenderError(
                "not a number of this tenant: add it with `pytake number add`, or leave it out"
            )
        return sender

    def _is_shared(self, tenant_id: str, sender: Sender) -> bool:
        return (tenant_id, sender.phone_number_id) in self._shares

"""Which number a request's messages go out from."""

import time
from collections.abc import Callable
from typing import Final

from pytake.access.principals import Principal
from pytake.database.engine import UNAVAILABLE, Database
from pytake.numbers import owners as number_owners
from pytake.numbers.senders import Sender, SenderError, Senders
from pytake.problems import InvalidRequestError
from pytake.settings import WhatsAppSettings

_KEPT_SECONDS: Final = 30.0
"""How long the numbers are cached, so that sending a message does not read them."""
_RETRY_SECONDS: Final = 3.0
"""Pause before the next read while the database is down; the cached numbers serve meanwhile."""


class NumberChoice:
    """The numbers of the installation as they were at most 30 seconds ago."""

    def __init__(self, database: Database, settings: WhatsAppSettings) -> None:
        self._database = database
        self._configured = settings.phone_number_id
        self._rate = settings.messages_per_second
        self._known: Senders | None = None
        self._until = 0.0

    async def default(self, tenant_id: str, *, allow_unshared: bool) -> Sender:
        """The number for a message that names none.

        Raises:
            InvalidRequestError: the tenant has several numbers, or none.
        """
        return await self._pick(
            lambda senders: senders.default(tenant_id, allow_unshared=allow_unshared)
        )

    async def named(self, tenant_id: str, phone_number_id: str, *, any_owner: bool) -> Sender:
        """The number that a message names.

        Raises:
            InvalidRequestError: the tenant may not use it.
        """
        return await self._pick(
            lambda senders: senders.named(tenant_id, phone_number_id, any_owner=any_owner)
        )

    async def sender(
        self, principal: Principal, tenant_id: str, phone_number_id: str | None
    ) -> Sender:
        """The number that ``principal``'s messages for a tenant go out from.

        Raises:
            InvalidRequestError: the tenant may not use the number, or has several and names none.
        """
        if phone_number_id is None:
            return await self.default(tenant_id, allow_unshared=principal.keyless)
        return await self.named(tenant_id, phone_number_id, any_owner=principal.admin)

    async def rate_of(self, phone_number_id: str) -> float:
        """Messages per second of a number; the configured rate if the number is not registered."""
        try:
            sender = await self.named("", phone_number_id, any_owner=True)
        except InvalidRequestError:
            return self._rate
        return sender.messages_per_second

    async def _pick(self, pick: Callable[[Senders], Sender]) -> Sender:
        known = self._known
        if known is not None and time.monotonic() < self._until:
            try:
                return pick(known)
            except SenderError:
                pass  # the number may be new
        try:
            return pick(await self._read())
        except SenderError as error:
            raise InvalidRequestError.of("phone_number_id", str(error)) from None

    async def _read(self) -> Senders:
        before, self._until = self._known, time.monotonic() + _RETRY_SECONDS
        try:
            self._known = await self._database.read(
                number_owners.senders, self._configured, self._rate
            )
        except UNAVAILABLE:
            if before is None:
                raise
            return before
        self._until = time.monotonic() + _KEPT_SECONDS
        return self._known

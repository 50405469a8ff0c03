"""What the routes share: clients, settings, and who is asking."""

import math
import time
from dataclasses import dataclass, field
from typing import Annotated, Final

from fastapi import Depends, Header, Request
from temporalio.client import Client

from activities.conversation_start import ConversationStarter
from activities.webhook_dispatch import Dispatcher
from api.errors import (
    ForbiddenError,
    NotFoundError,
    TooManyRequestsError,
    UnauthorizedError,
)
from api.number_choice import NumberChoice
from api.scheduled_quota import ScheduledQuota
from api.tiers import Waker
from pytake.settings import Settings
from pytake.storage import keys, opt_outs
from pytake.storage.engine import Database
from pytake.storage.message_events import anyone_listens
from pytake.storage.rules import Books
from pytake.token_buckets import TokenBuckets

DEFAULT_TENANT: Final = "default"
_KEY_CACHE_SECONDS: Final = 3.0


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking: a tenant, or an admin who may act for any."""

    tenant_id: str
    admin: bool
    keyless: bool = False
    """Nobody has a key: whoever reaches the API is its only user."""

    def acting_for(self, tenant_id: str | None) -> str:
        """The tenant a request is for.

        Raises:
            ForbiddenError: it names another tenant than the key's.
        """
        if tenant_id is None or tenant_id == self.tenant_id:
            return self.tenant_id
        if not self.admin:
            raise ForbiddenError("the API key belongs to another tenant than tenant_id names")
        return tenant_id

    @property
    def scope(self) -> str | None:
        """The tenant whose data is seen; ``None`` for all."""
        return None if self.admin else self.tenant_id

    def sees(self, tenant_id: str) -> bool:
        """Whether data of ``tenant_id`` is visible."""
        return self.admin or tenant_id == self.tenant_id


@dataclass
class Services:
    """The lifespan state of the application."""

    settings: Settings
    database: Database
    client: Client
    dispatcher: Dispatcher
    waker: Waker
    conversations: ConversationStarter
    scheduled: ScheduledQuota
    books: Books = field(default_factory=Books)
    buckets: TokenBuckets = field(default_factory=TokenBuckets)
    contact_hash_key: bytes | None = None
    _principals: dict[str, tuple[float, Principal | None]] = field(default_factory=dict)
    _key_count: tuple[float, int] | None = None
    _listening: dict[str, tuple[float, bool]] = field(default_factory=dict)
    _opted_out: dict[str, tuple[float, bool]] = field(default_factory=dict)
    numbers: NumberChoice = field(init=False)

    def __post_init__(self) -> None:
        settings = self.settings
        self.numbers = NumberChoice(
            self.database, settings.phone_number_id, settings.whatsapp_messages_per_second
        )

    async def contact_hash(self, contact_key: str) -> str:
        """The contact as search attributes show it."""
        return keys.hash_contact(await self.hash_key(), contact_key)

    async def hash_key(self) -> bytes:
        """The key of the installation's hashes, made with its database."""
        if self.contact_hash_key is None:
            self.contact_hash_key = await self.database.write(keys.contact_hash_key)
        return self.contact_hash_key

    async def principal(self, authorization: str | None) -> Principal:
        """Check an ``Authorization`` header.

        Raises:
            UnauthorizedError: there are keys, and this is none of them.
            TooManyRequestsError: the key makes more requests than it may.
        """
        if authorization is None:
            if await self._keys_exist():
                raise UnauthorizedError(
                    "send an API key: Authorization: Bearer ptk_...",
                    headers={"WWW-Authenticate": "Bearer"},
                )
            return Principal(DEFAULT_TENANT, admin=True, keyless=True)
        cached = self._principals.get(authorization)
        if cached is None or cached[0] < time.monotonic():
            scheme, _, text = authorization.partition(" ")
            bearer = scheme.lower() == "bearer"
            key = await self.database.read(keys.verify, text) if bearer else None
            found = Principal(key.tenant_id, key.admin) if key else None
            if len(self._principals) > 1000:
                self._principals.clear()
            cached = (time.monotonic() + _KEY_CACHE_SECONDS, found)
            self._principals[authorization] = cached
        if cached[1] is None:
            raise UnauthorizedError(
                "the API key is not valid or was revoked", headers={"WWW-Authenticate": "Bearer"}
            )
        rate = self.settings.requests_per_second
        if rate and (wait := self.buckets.take(f"key {authorization}", rate, 2 * rate)):
            raise TooManyRequestsError(
                f"the API key may make {rate:g} requests a second",
                headers={"Retry-After": str(math.ceil(wait))},
            )
        return cached[1]

    async def number_for(
        self, principal: Principal, tenant_id: str, phone_number_id: str | None
    ) -> tuple[str, float]:
        """The id and messages a second of the number that a tenant sends from.

        Raises:
            InvalidRequestError: the tenant may not use the number, or has several and names none.
        """
        if phone_number_id is None:
            sender = await self.numbers.default(tenant_id, unshared=principal.keyless)
        else:
            sender = await self.numbers.named(tenant_id, phone_number_id, any_owner=principal.admin)
        return sender.phone_number_id, sender.messages_per_second

    async def rate_of(self, phone_number_id: str) -> float:
        """Messages a second of a number; of one that is not known here, the installation's."""
        return await self.numbers.rate_of(phone_number_id)

    def goes_directly(self, phone_number_id: str, rate: float) -> bool:
        """Whether a message may try to go out without passing the queue: while no more of its number
        come than that may send. What comes faster waits in the queue, and there is no use trying.
        """
        if not self.settings.direct_sends:
            return False
        return not self.buckets.take(f"number {phone_number_id}", rate, max(rate, 1.0))

    async def listens(self, tenant_id: str) -> bool:
        """Whether the tenant has any endpoint; known for a few seconds."""
        cached = self._listening.get(tenant_id)
        if cached is None or cached[0] < time.monotonic():
            found = await self.database.read(anyone_listens, {tenant_id})
            cached = (time.monotonic() + _KEY_CACHE_SECONDS, found)
            self._listening[tenant_id] = cached
        return cached[1]

    async def has_opt_outs(self, tenant_id: str) -> bool:
        """Whether any of the tenant's contacts opted out; known for a few seconds."""
        cached = self._opted_out.get(tenant_id)
        if cached is None or cached[0] < time.monotonic():
            found = await self.database.read(opt_outs.any_of, tenant_id)
            cached = (time.monotonic() + _KEY_CACHE_SECONDS, found)
            self._opted_out[tenant_id] = cached
        return cached[1]

    async def _keys_exist(self) -> bool:
        if self._key_count is None or self._key_count[0] < time.monotonic():
            count = await self.database.read(keys.count)
            self._key_count = (time.monotonic() + _KEY_CACHE_SECONDS, count)
        return self._key_count[1] > 0


async def get_services(request: Request) -> Services:
    """The application's services."""
    services: Services = request.app.state.services
    return services


async def get_principal(
    services: Annotated[Services, Depends(get_services)],
    authorization: Annotated[str | None, Header()] = None,
) -> Principal:
    """Who is asking."""
    return await services.principal(authorization)


def unknown_message(message_id: str) -> NotFoundError:
    """A message that is not there, or not the asker's: no one can tell which."""
    return NotFoundError(f"no message {message_id[:80]!r}")


ServicesDep = Annotated[Services, Depends(get_services)]
PrincipalDep = Annotated[Principal, Depends(get_principal)]

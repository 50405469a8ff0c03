"""What the routes share: clients, settings, and who is asking."""

import time
from dataclasses import dataclass, field
from typing import Annotated, Final

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from temporalio.client import Client

from api.access import DEFAULT_TENANT as DEFAULT_TENANT
from api.access import Authenticator
from api.access import Principal as Principal
from pytake.access import keys
from pytake.access.token_buckets import TokenBuckets
from pytake.contacts import opt_outs
from pytake.conversations.rule_store import Books
from pytake.conversations.start import ConversationStarter
from pytake.database.engine import Database
from pytake.messages.events import anyone_listens
from pytake.messages.first_tasks import FirstTasks
from pytake.messages.quota import ScheduledQuota
from pytake.messages.wake import Waker
from pytake.numbers.choice import NumberChoice
from pytake.problems import NotFoundError, UnauthorizedError
from pytake.settings import Settings
from pytake.webhooks.dispatch import Dispatcher

_KNOWN_SECONDS: Final = 3.0
_BEARER: Final = HTTPBearer(
    auto_error=False, scheme_name="API key", description="What `pytake key create` prints"
)


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
    authenticator: Authenticator
    books: Books = field(default_factory=Books)
    buckets: TokenBuckets = field(default_factory=TokenBuckets)
    first_tasks: FirstTasks = field(default_factory=FirstTasks)
    contact_hash_key: bytes | None = None
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
            cached = (time.monotonic() + _KNOWN_SECONDS, found)
            self._listening[tenant_id] = cached
        return cached[1]

    async def has_opt_outs(self, tenant_id: str) -> bool:
        """Whether any of the tenant's contacts opted out; known for a few seconds."""
        cached = self._opted_out.get(tenant_id)
        if cached is None or cached[0] < time.monotonic():
            found = await self.database.read(opt_outs.any_of, tenant_id)
            cached = (time.monotonic() + _KNOWN_SECONDS, found)
            self._opted_out[tenant_id] = cached
        return cached[1]


async def get_services(request: Request) -> Services:
    """The application's services."""
    services: Services = request.app.state.services
    return services


async def get_principal(
    request: Request,
    _documented: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)] = None,
) -> Principal:
    """Who is asking, as the gate found."""
    principal: Principal | None = getattr(request.state, "principal", None)
    if principal is None:
        raise UnauthorizedError("send an API key: Authorization: Bearer ptk_...")
    return principal


def unknown_message(message_id: str) -> NotFoundError:
    """A message that is not there, or not the asker's: no one can tell which."""
    return NotFoundError(f"no message {message_id[:80]!r}")


ServicesDep = Annotated[Services, Depends(get_services)]
PrincipalDep = Annotated[Principal, Depends(get_principal)]

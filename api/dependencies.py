"""What the routes share: clients, settings, and who is asking."""

from dataclasses import dataclass, field
from typing import Annotated, Final

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from temporalio.client import Client

from api.access import Authenticator
from pytake.access.principals import Principal
from pytake.contacts.hashing import ContactHashes
from pytake.conversations.rule_store import Books
from pytake.conversations.start import ConversationStarter
from pytake.database.engine import Database
from pytake.messages.accept import Acceptor
from pytake.messages.wake import Waker
from pytake.numbers.choice import NumberChoice
from pytake.problems import NotFoundError, UnauthorizedError
from pytake.settings import Settings
from pytake.webhooks.dispatch import Dispatcher

_BEARER: Final = HTTPBearer(
    auto_error=False, scheme_name="API key", description="What `pytake key create` prints"
)


@dataclass(frozen=True)
class Services:
    """The lifespan state of the application."""

    settings: Settings
    database: Database
    client: Client
    dispatcher: Dispatcher
    waker: Waker
    conversations: ConversationStarter
    authenticator: Authenticator
    acceptor: Acceptor
    numbers: NumberChoice
    hashes: ContactHashes
    books: Books = field(default_factory=Books)


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

"""Dependencies of routes: one for each collaborator, and the authenticated principal.

All of them are built once, in ``api.app``; a dependency reads one from the request's state.
"""

from typing import Annotated, Final

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from temporalio.client import Client

from api.access import Authenticator
from api.links import WorkflowLinks
from pytake.access.principals import Principal
from pytake.database.engine import Database
from pytake.messages.accept import Acceptor
from pytake.numbers.choice import NumberChoice
from pytake.problems import UnauthorizedError
from pytake.settings import Settings
from pytake.webhooks.dispatch import Dispatcher

_BEARER: Final = HTTPBearer(
    auto_error=False, scheme_name="API key", description="What `pytake key create` prints"
)


async def get_settings(request: Request) -> Settings:
    """The settings."""
    settings: Settings = request.state.settings
    return settings


async def get_database(request: Request) -> Database:
    """The database."""
    database: Database = request.state.database
    return database


async def get_client(request: Request) -> Client:
    """Temporal's client."""
    client: Client = request.state.client
    return client


async def get_authenticator(request: Request) -> Authenticator:
    """Checks API keys and their rates."""
    authenticator: Authenticator = request.state.authenticator
    return authenticator


async def get_acceptor(request: Request) -> Acceptor:
    """Accepts messages into the queue."""
    acceptor: Acceptor = request.state.acceptor
    return acceptor


async def get_numbers(request: Request) -> NumberChoice:
    """Chooses the number that a tenant's messages go out from."""
    numbers: NumberChoice = request.state.numbers
    return numbers


async def get_dispatcher(request: Request) -> Dispatcher:
    """Starts the deliveries of events."""
    dispatcher: Dispatcher = request.state.dispatcher
    return dispatcher


async def get_links(request: Request) -> WorkflowLinks:
    """Links to workflows in the Web UI."""
    links: WorkflowLinks = request.state.links
    return links


async def get_principal(
    request: Request,
    _documented: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)] = None,
) -> Principal:
    """The principal of the request, as authenticated by the gate."""
    principal: Principal | None = getattr(request.state, "principal", None)
    if principal is None:
        raise UnauthorizedError("send an API key: Authorization: Bearer ptk_...")
    return principal


SettingsDep = Annotated[Settings, Depends(get_settings)]
DatabaseDep = Annotated[Database, Depends(get_database)]
ClientDep = Annotated[Client, Depends(get_client)]
AuthenticatorDep = Annotated[Authenticator, Depends(get_authenticator)]
AcceptorDep = Annotated[Acceptor, Depends(get_acceptor)]
NumbersDep = Annotated[NumberChoice, Depends(get_numbers)]
DispatcherDep = Annotated[Dispatcher, Depends(get_dispatcher)]
LinksDep = Annotated[WorkflowLinks, Depends(get_links)]
PrincipalDep = Annotated[Principal, Depends(get_principal)]

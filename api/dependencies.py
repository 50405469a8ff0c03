"""Dependencies of routes: one for each collaborator, and the authenticated principal.

The collaborators are built once, in ``api.app``, which puts them into every request's state.
"""

from typing import Annotated, Any, Final

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


def from_state(name: str) -> Any:
    """The dependency that is ``name`` in the application's state; each alias says of which type it is."""

    async def read(request: Request) -> Any:
        return getattr(request.state, name)

    return Depends(read)


async def get_principal(
    request: Request,
    _documented: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)] = None,
) -> Principal:
    """The principal of the request, as authenticated by the gate."""
    principal: Principal | None = getattr(request.state, "principal", None)
    if principal is None:
        raise UnauthorizedError("send an API key: Authorization: Bearer ptk_...")
    return principal


SettingsDep = Annotated[Settings, from_state("settings")]
DatabaseDep = Annotated[Database, from_state("database")]
ClientDep = Annotated[Client, from_state("client")]
"""Temporal's client."""
AuthenticatorDep = Annotated[Authenticator, from_state("authenticator")]
"""Checks API keys and their rates."""
AcceptorDep = Annotated[Acceptor, from_state("acceptor")]
"""Accepts messages into the queue."""
NumbersDep = Annotated[NumberChoice, from_state("numbers")]
"""Chooses the number that a tenant's messages go out from."""
DispatcherDep = Annotated[Dispatcher, from_state("dispatcher")]
"""Starts the deliveries of events."""
LinksDep = Annotated[WorkflowLinks, from_state("links")]
PrincipalDep = Annotated[Principal, Depends(get_principal)]

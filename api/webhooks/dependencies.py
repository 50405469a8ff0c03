"""Dependencies of the routes of webhooks."""

from typing import Annotated

from fastapi import Depends, Query

from api.dependencies import DatabaseDep, PrincipalDep
from api.fields import Name
from pytake.problems import InvalidRequestError, NotFoundError
from pytake.webhooks import endpoints
from pytake.webhooks.tables import WebhookEndpoint


async def named_endpoint(
    endpoint_id: str,
    database: DatabaseDep,
    principal: PrincipalDep,
    tenant_id: Annotated[
        Name | None, Query(description="The endpoint's tenant: for admins, if several have this id")
    ] = None,
) -> WebhookEndpoint:
    """The endpoint of a path.

    Raises:
        NotFoundError: it does not exist, or belongs to another tenant.
        InvalidRequestError: several tenants have this id, and the admin did not name one.
    """
    wanted = endpoint_id[:64]
    if principal.admin and tenant_id is None:
        found = await database.read(endpoints.named, wanted)
        if len(found) > 1:
            raise InvalidRequestError.of(
                "tenant_id", "several tenants have an endpoint of this id: say whose"
            )
        endpoint = found[0] if found else None
    else:
        owner = principal.acting_for(tenant_id)
        endpoint = await database.read(endpoints.get, owner, wanted)
    if endpoint is None:
        raise NotFoundError(f"no endpoint {wanted!r}")
    return endpoint


EndpointDep = Annotated[WebhookEndpoint, Depends(named_endpoint)]

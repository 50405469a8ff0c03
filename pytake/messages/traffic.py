"""Whether messages may be sent or received for a tenant."""

from sqlalchemy import select
from sqlmodel import Session, col

from pytake.access.tables import ApiKey
from pytake.messages.tables import Message
from pytake.numbers.tables import PhoneNumber


def may_have_traffic(session: Session, tenant_id: str) -> bool:
    """Whether messages may be sent or received for a tenant: it has an API key or a number, or an admin
    has sent on its behalf.
    """
    key = select(col(ApiKey.id)).where(
        col(ApiKey.tenant_id) == tenant_id, col(ApiKey.revoked_at).is_(None)
    )
    number = select(col(PhoneNumber.id)).where(col(PhoneNumber.tenant_id) == tenant_id)
    message = select(col(Message.id)).where(col(Message.tenant_id) == tenant_id)
    signs = (key, number, message)
    return any(session.scalars(sign.limit(1)).first() is not None for sign in signs)

"""Templates in the database, as Meta last reported them."""

from datetime import datetime
from typing import Final

from sqlalchemy import select
from sqlmodel import Session, col

from pytake.database.upsert import insert_into
from pytake.templates.tables import MetaTemplate
from pytake.whatsapp.counts import Template

MARKETING: Final = "MARKETING"


def category(
    session: Session, portfolio_id: str, name: str, language: str | None
) -> MetaTemplate | None:
    """The stored template, in ``language`` if it is known in that language."""
    rows = session.scalars(
        select(MetaTemplate).where(
            col(MetaTemplate.portfolio_id) == portfolio_id, col(MetaTemplate.name) == name
        )
    ).all()
    return next((row for row in rows if row.language == language), rows[0] if rows else None)


def save_template(
    session: Session, portfolio_id: str, tenant_id: str, template: Template, now: datetime
) -> None:
    """Store a template as reported by Meta."""
    values = {
        "tenant_id": tenant_id,
        "template_id": template.id,
        "category": template.category,
        "status": template.status,
        "quality": template.quality,
        "known_at": now,
    }
    statement = insert_into(session, MetaTemplate).values(
        portfolio_id=portfolio_id, name=template.name, language=template.language, **values
    )
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["portfolio_id", "name", "language"], set_=values
        )
    )

"""Whether Meta lists a template as marketing; only needed for contacts who opted out."""

from datetime import timedelta
from typing import Final

from sqlmodel import Session

from pytake.clock import now
from pytake.database.engine import Database
from pytake.numbers.tables import PhoneNumber
from pytake.templates import store as templates
from pytake.whatsapp.client import CloudApi
from pytake.whatsapp.counts import Template
from pytake.whatsapp.insights import fetch_templates

_FRESH: Final = timedelta(hours=24)
"""How long a stored category is trusted: Meta may change it."""


class TemplateCategories:
    """Template categories, cached in the database."""

    def __init__(self, api: CloudApi, database: Database, portfolio_id: str) -> None:
        self._api = api
        self._database = database
        self._portfolio_id = portfolio_id

    async def is_marketing(
        self, tenant_id: str, phone_number_id: str, name: str, language: str
    ) -> bool:
        """Whether a template is marketing; a template that Meta does not list counts as marketing.

        Raises:
            SendError: Meta could not be asked.
        """
        portfolio_id = await self._database.read(_portfolio, phone_number_id)
        portfolio_id = portfolio_id or self._portfolio_id
        known = await self._database.read(templates.category, portfolio_id, name, language)
        if known is not None and now() - known.known_at <= _FRESH:
            return known.category == templates.MARKETING
        listed = await fetch_templates(self._api, portfolio_id, name)
        template = next((t for t in listed if t.language == language), None)
        template = template or next(iter(listed), None)
        if template is None:
            template = Template("", name, language, templates.MARKETING, "UNKNOWN")
        await self._database.write(
            templates.save_template, portfolio_id, tenant_id, template, now()
        )
        return template.category == templates.MARKETING


def _portfolio(session: Session, phone_number_id: str) -> str | None:
    number = session.get(PhoneNumber, phone_number_id)
    return number.portfolio_id if number else None

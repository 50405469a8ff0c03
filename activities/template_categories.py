"""Whether a template is marketing, as Meta has it: asked for opted-out contacts only."""

from datetime import timedelta
from typing import Final

from sqlmodel import Session

from pytake.clock import now
from pytake.contracts import SendRequest
from pytake.storage import opt_outs
from pytake.storage.engine import Database
from pytake.storage.tables import PhoneNumber
from pytake.whatsapp.client import CloudApi

_FRESH: Final = timedelta(hours=24)
"""Meta may put a template into another category; what it said is believed for this long."""


class TemplateCategories:
    """Categories, kept in the database."""

    def __init__(self, api: CloudApi, database: Database, portfolio_id: str) -> None:
        self._api = api
        self._database = database
        self._portfolio_id = portfolio_id

    async def is_marketing(self, request: SendRequest) -> bool:
        """Whether the message is a marketing template; one that Meta does not list counts as one.

        Raises:
            SendError: Meta could not be asked.
        """
        name = str(request.content.get("name"))
        portfolio_id = await self._database.read(_portfolio, request.phone_number_id)
        portfolio_id = portfolio_id or self._portfolio_id
        known = await self._database.read(opt_outs.category, portfolio_id, name)
        if known is None or now() - known.known_at > _FRESH:
            answer = await self._api.get(
                f"{portfolio_id}/message_templates", name=name, fields="name,language,category"
            )
            kind = _category(answer.get("data"), name, request.content.get("language"))
            await self._database.write(
                opt_outs.save_category, portfolio_id, name, request.tenant_id, kind, now()
            )
            return kind == opt_outs.MARKETING
        return known.category == opt_outs.MARKETING


def _category(templates: object, name: str, language: object) -> str:
    """The category of the template in a language, else in any, else marketing."""
    found: dict[object, str] = {}
    for item in templates if isinstance(templates, list) else []:
        if isinstance(item, dict) and item.get("name") == name:
            found[item.get("language")] = str(item.get("category")).upper()
    return found.get(language) or next(iter(found.values()), opt_outs.MARKETING)


def _portfolio(session: Session, phone_number_id: str) -> str | None:
    number = session.get(PhoneNumber, phone_number_id)
    return number.portfolio_id if number else None

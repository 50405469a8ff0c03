"""Contacts who leave and come back by a word: recorded, whoever answers them."""

from collections.abc import Iterable
from datetime import datetime

from sqlmodel import Session

from pytake.contacts import opt_outs
from pytake.conversations.party import Party
from pytake.conversations.rules.etiquette import Wish, wish
from pytake.conversations.rules.said import Said
from pytake.webhooks.contracts import DeliveryInput


def record(
    session: Session, party: Party, wanted: Wish, text: str, now: datetime
) -> list[DeliveryInput] | None:
    """Record what a contact wants and raise its event; ``None`` if it was so before."""
    if wanted is Wish.LEAVE:
        return opt_outs.opt_out(
            session,
            party.tenant_id,
            party.contact_key,
            now,
            phone_number_id=party.phone_number_id,
            source="message",
            detail=text[:100],
        )
    return opt_outs.opt_in(
        session,
        party.tenant_id,
        party.contact_key,
        now,
        phone_number_id=party.phone_number_id,
        detail=text[:100],
    )


def overhear(
    session: Session, heard: Iterable[tuple[Party, Said]], now: datetime
) -> list[DeliveryInput]:
    """Record the wishes among messages that nobody answers, those of a contact in order.

    No menu of PyTake's is open to them, so that a word that leaves is never an option.
    """
    found = [(party, wanted, said.text) for party, said in heard if (wanted := wish(said.text))]
    raised: list[DeliveryInput] = []
    # One order for all transactions: two that meet in the same contacts do not deadlock.
    for party, wanted, text in sorted(found, key=lambda item: item[0].contact_key):
        raised += record(session, party, wanted, text, now) or []
    return raised

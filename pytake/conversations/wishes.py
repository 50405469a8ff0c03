"""Recording opt-outs and opt-ins that contacts send as keywords, whether or not they are answered."""

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
    """Record an opt-out or opt-in and raise its event; ``None`` if nothing changed."""
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


def record_unanswered(
    session: Session, heard: Iterable[tuple[Party, Said]], now: datetime
) -> list[DeliveryInput]:
    """Record the opt-outs and opt-ins among messages that are not answered, each contact's in order.

    No menu is open in this case, so an opt-out keyword is never a menu option.
    """
    found = [(party, wanted, said.text) for party, said in heard if (wanted := wish(said.text))]
    raised: list[DeliveryInput] = []
    # One order in all transactions, so that two with the same contacts do not deadlock.
    for party, wanted, text in sorted(found, key=lambda item: item[0].contact_key):
        raised += record(session, party, wanted, text, now) or []
    return raised

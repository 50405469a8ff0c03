"""Answering in two transactions (load, decide without holding a lock, apply), and the answer's messages."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlmodel import Session

from pytake.clock import now
from pytake.conversations import rule_store as rules
from pytake.conversations.apply import Applied, OutdatedError, apply
from pytake.conversations.contracts import reply_message_id
from pytake.conversations.decide import Policy, Verdict, decide, fresh_texts
from pytake.conversations.load import Loaded
from pytake.conversations.party import Party
from pytake.conversations.rules.etiquette import LoopBreaker
from pytake.conversations.rules.matching import RuleBook, UnreadTextError
from pytake.conversations.state import lock
from pytake.conversations.tables import AutoReply
from pytake.database.engine import Database
from pytake.messages.accept import NewMessage
from pytake.messages.content import MessageType
from pytake.settings import ConversationSettings
from pytake.temporal.priority import Priority

_DECISIONS: Final = 6
"""Attempts at one decision while its inputs keep changing."""

Load = Callable[[Session], Loaded | None]
"""Reads what a decision needs; ``None`` if the tenant's auto-responder is not installed yet."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A decision, and what was stored of it."""

    verdict: Verdict
    applied: Applied


def policy_of(settings: ConversationSettings) -> Policy:
    """The policy that the settings describe."""
    return Policy(
        max_age=timedelta(seconds=settings.reply_max_age_seconds),
        handover_silence=timedelta(seconds=settings.handover_silence_seconds),
        loop=LoopBreaker(
            settings.loop_exchanges, settings.loop_seconds, settings.loop_pause_seconds
        ),
        install_defaults=settings.default_rules,
        answers=settings.auto_responder,
    )


def new_message(reply: AutoReply, index: int) -> NewMessage:
    """One message of an answer; its id derives from the answer, so that it is accepted once."""
    kind, content = reply.messages[index]
    return NewMessage(
        tenant_id=reply.tenant_id,
        to=reply.recipient,
        message_type=MessageType(kind),
        content=content,
        phone_number_id=reply.phone_number_id,
        priority=Priority.HIGH,
        reply_to=reply.reply_to if index == 0 else None,
        metadata={"rule_id": reply.rule_id or ""},
        message_id=reply_message_id(reply.tenant_id, reply.key, index),
    )


async def answer(
    database: Database, load: Load, party: Party, policy: Policy, key: str, *, explain: bool = False
) -> Answered:
    """Decide, and apply the decision if its inputs have not changed; otherwise decide again under the
    lock, so that concurrent answers to one contact all finish.

    Raises:
        OutdatedError: the rules change faster than they can be read.
    """
    outdated = False
    for _ in range(_DECISIONS):
        loaded = await database.read(load)
        if loaded is None:
            await database.write(
                rules.install, party.tenant_id, now(), defaults=policy.install_defaults
            )
            continue
        try:
            if outdated:
                texts = fresh_texts(loaded.snapshot, policy)
                book = await asyncio.to_thread(loaded.book.having_read, texts)
                return await database.write(_answer_locked, load, party, book, policy, key, explain)
            verdict = await asyncio.to_thread(
                decide, loaded.snapshot, loaded.book, policy, explain=explain
            )
            applied = await database.write(apply, loaded.snapshot, verdict, policy, key)
            return Answered(verdict, applied)
        except (OutdatedError, UnreadTextError):
            outdated = True
    raise OutdatedError


def _answer_locked(
    session: Session,
    load: Load,
    party: Party,
    book: RuleBook,
    policy: Policy,
    key: str,
    explain: bool,
) -> Answered:
    """Load, decide and apply in one transaction, using texts that are already matched."""
    lock(session, party)
    if rules.revision(session, party.tenant_id) != book.revision:
        raise OutdatedError  # reading and weighing the new rules takes time
    loaded = load(session)
    if loaded is None or loaded.book.revision != book.revision:
        raise OutdatedError
    verdict = decide(loaded.snapshot, book, policy, explain=explain)
    return Answered(verdict, apply(session, loaded.snapshot, verdict, policy, key))

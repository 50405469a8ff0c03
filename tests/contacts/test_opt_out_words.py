"""Opt-out words while the auto-responder is off: recorded, with an event, but not answered."""

import json
import time
from datetime import timedelta
from typing import Any

from pytake.clock import now
from pytake.contacts import opt_outs
from pytake.conversations import inbox
from pytake.conversations import rule_store as rules
from pytake.conversations.answer import policy_of
from pytake.conversations.inbound import Inbound
from pytake.conversations.party import Party
from tests.callback.posting import envelope, post
from tests.conversations.deciding import load, settle
from tests.hooks import configure, tenant
from tests.receiver import Receiver
from tests.stack import Stack, eventually, fresh_recipient


def said(contact: str, kind: str, part: Any, at: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "from": contact,
        "id": f"wamid.{contact}.{kind}.{at}",
        "timestamp": str(int(time.time()) - 100 + at),
        "type": kind,
        kind: part,
        **more,
    }


async def receive(stack: Stack, number: str, *messages: dict[str, Any]) -> None:
    value = {"metadata": {"phone_number_id": number}, "messages": list(messages)}
    assert (await post(stack, envelope(value))).status_code == 200


async def left(stack: Stack, owner: str, contact: str) -> bool:
    return await stack.database.read(opt_outs.get, owner, contact) is not None


async def test_opting_out_and_in_works_while_the_auto_responder_is_off(
    stack: Stack, receiver: Receiver
) -> None:
    owner, contact = tenant(), fresh_recipient()
    number = await stack.register(tenant=owner)
    path = f"/left/{owner}"
    await configure(stack, owner, receiver.script(path, 200), events=["contact.*"])
    assert not stack.settings.conversations.auto_responder
    leaving = said(contact, "text", {"body": "Parar!"})
    await receive(stack, number, leaving)
    assert await left(stack, owner, contact)
    await receive(stack, number, said(contact, "text", {"body": "VOLTAR"}, 1))
    assert not await left(stack, owner, contact)
    # A message that Meta repeats was already applied: it does not undo the opt-in.
    await receive(stack, number, leaving)
    assert not await left(stack, owner, contact)
    # Within one request, each contact's last word counts, ordered by timestamp.
    other = fresh_recipient()
    await receive(
        stack,
        number,
        said(other, "text", {"body": "voltar"}, 1),
        said(other, "text", {"body": "sair"}, 2),
        said(contact, "button", {"text": "Stop promotions", "payload": "x"}, 3),
    )
    assert await left(stack, owner, contact)
    assert await left(stack, owner, other)
    assert await stack.accepted(to=contact) == []

    async def told() -> bool:
        return sorted(json.loads(r.body)["type"] for r in receiver.received[path]) == [
            "contact.opted_in",
            "contact.opted_out",
            "contact.opted_out",
            "contact.opted_out",
        ]

    await eventually(told)


async def test_only_a_contacts_own_exact_words_count(stack: Stack) -> None:
    owner, contact = tenant(), fresh_recipient()
    number = await stack.register(tenant=owner)
    await receive(
        stack,
        number,
        said(contact, "reaction", {"emoji": "x", "message_id": "y"}, text={"body": "sair"}),
        said(contact, "text", {"body": "quero sair de casa"}, 1),
        said(contact, "text", {"body": "sair " * 800}, 2),
    )
    assert not await left(stack, owner, contact)


async def test_an_auto_responder_switched_off_before_deciding_records_without_answering(
    stack: Stack,
) -> None:
    owner, contact = tenant(), fresh_recipient()
    number = await stack.register(tenant=owner)
    at = now()
    items = [
        Inbound(
            f"wamid.{contact}.{text}",
            number,
            contact,
            contact,
            None,
            None,
            "text",
            {"type": "text", "text": {"body": text}},
            at - timedelta(seconds=9),
        )
        for text in ("menu", "sair")
    ]
    wamids = [item.wamid for item in items]
    await stack.database.write(inbox.store_inbound, items, {number: owner}, at, answered=False)
    await stack.database.write(rules.install, owner, at, defaults=True)
    policy, party = policy_of(stack.settings.conversations), Party(owner, number, contact)
    loaded = load(stack.database, party, wamids, policy, at)
    verdict = settle(stack.database, loaded, policy, wamids[-1])
    assert (verdict.reply.status, verdict.reply.messages) == ("silent", [])
    assert await left(stack, owner, contact)

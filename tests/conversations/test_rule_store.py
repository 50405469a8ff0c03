"""Rules in the database: limits per tenant, and decisions while rules change."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, update
from sqlmodel import Session, col

from pytake.conversations import inbox, wishes
from pytake.conversations import rule_store as rules
from pytake.conversations.answer import answer
from pytake.conversations.apply import OutdatedError
from pytake.conversations.decide import Policy
from pytake.conversations.inbound import Inbound
from pytake.conversations.load import Loaded, load_burst
from pytake.conversations.party import Party
from pytake.conversations.rule_store import TooMuchError
from pytake.conversations.rules.etiquette import LoopBreaker, Wish
from pytake.conversations.rules.matching import RuleBook
from pytake.conversations.rules.rules import RuleFields
from pytake.conversations.state import get_reply, hand_over, lock, uses_of
from pytake.conversations.tables import AutoReply, ResponderRule
from pytake.database.engine import Database
from tests.conversations.deciding import load, settle
from tests.hooks import tenant
from tests.messages.samples import NOW
from tests.stack import fresh_number

POLICY = Policy(timedelta(hours=1), timedelta(hours=4), LoopBreaker(10, 120, 3600), False)


def fields(words: list[str], **more: Any) -> RuleFields:
    return RuleFields.model_validate(
        {
            "name": "r",
            "trigger": {"type": "Keyword", "words": words, "match_type": "Contains"},
            "response": {"action": "SendMessage", "text": "ok"},
            **more,
        }
    )


def heavy(seed: int) -> RuleFields:
    """About a sixth of what a tenant's words may weigh."""
    return fields([f"{seed} {number} ".ljust(200, "x") for number in range(200)])


def make(database: Database, owner: str, rule_id: str, body: RuleFields, most: int = 50) -> Any:
    return database.write_now(rules.create, owner, rule_id, body, NOW, most=most)


def test_limits_on_a_tenants_rules_are_checked_on_save(database: Database) -> None:
    owner = tenant()
    database.write_now(rules.install, owner, NOW, defaults=True)
    default = len(database.read_now(rules.list_all, owner))
    for index in range(6):
        make(database, owner, f"r{index}", heavy(index))
    with pytest.raises(TooMuchError, match="262,144 bytes of words") as refused:
        make(database, owner, "r6", heavy(6))
    assert refused.value.field == "trigger.words"
    assert database.read_now(rules.problems, owner) == {}
    # Another tenant has its own; a lighter rule may come, and a heavy one may change.
    make(database, tenant(), "r0", heavy(0))
    make(database, owner, "light", fields(["oi"]))
    database.write_now(rules.save, owner, "r0", heavy(99), NOW, most=50)
    with pytest.raises(TooMuchError):
        database.write_now(rules.save, owner, "light", heavy(98), NOW, most=50)
    with pytest.raises(TooMuchError, match=f"at most {default} rules") as many:
        make(database, owner, "one-more", fields(["x"]), most=default)
    assert many.value.field is None


def test_concurrent_saves_do_not_exceed_the_limit(database: Database) -> None:
    owner = tenant()
    database.write_now(rules.install, owner, NOW, defaults=False)

    def attempt(index: int) -> bool:
        try:
            return make(database, owner, f"r{index}", fields(["x"]), most=3) is not None
        except TooMuchError:
            return False

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(attempt, range(12))) == 3
        make_same = threads.map(lambda _: make(database, owner, "r", fields(["x"])), range(8))
        assert sum(made is not None for made in make_same) == 1


def test_rules_saved_before_the_limits_are_weighed_and_reported(database: Database) -> None:
    owner = tenant()
    database.write_now(rules.install, owner, NOW, defaults=False)
    for index in range(9):
        database.write_now(rules.save, owner, f"r{index}", heavy(index), NOW)
    database.write_now(
        lambda session: session.execute(
            update(ResponderRule).where(col(ResponderRule.tenant_id) == owner).values(words=None)
        )
    )
    beyond = database.read_now(rules.problems, owner)
    assert 0 < len(beyond) < 9
    book = database.read_now(rules.Books().load, owner)
    assert set(book.left_out) == set(beyond)
    with pytest.raises(TooMuchError):
        make(database, owner, "r9", heavy(9))
    database.write_now(rules.save, owner, "r8", fields(["oi"]), NOW, most=50)  # it gets less
    for rule_id in beyond:
        database.write_now(rules.delete, owner, rule_id)
    assert database.read_now(rules.problems, owner) == {}


def test_a_decision_uses_the_current_rules(database: Database) -> None:
    owner, number, contact = tenant(), fresh_number(), "5561994013828"
    party, wamid = Party(owner, number, contact), f"wamid.{number}"
    item = Inbound(
        wamid,
        number,
        contact,
        contact,
        None,
        None,
        "text",
        {"from": contact, "type": "text", "text": {"body": "oi"}},
        NOW,
    )
    database.write_now(inbox.store_inbound, [item], {number: owner}, NOW)
    database.write_now(rules.install, owner, NOW, defaults=False)
    make(database, owner, "first", fields(["oi"]))
    before = load(database, party, [wamid], POLICY, NOW)
    assert [item.said.text for item in before.snapshot.heard] == ["oi"]
    database.write_now(rules.delete, owner, "first")
    make(database, owner, "second", fields(["oi"]))
    with pytest.raises(OutdatedError):
        settle(database, before, POLICY, wamid)
    assert database.read_now(get_reply, wamid) is None
    after = load(database, party, [wamid], POLICY, NOW)
    assert settle(database, after, POLICY, wamid).reply.rule_id == "second"
    # A repeat finds the decision, whatever the rules are by then.
    assert settle(database, before, POLICY, wamid).reply.rule_id == "second"


def hear(database: Database, party: Party, wamid: str, text: str) -> None:
    contact, payload = party.contact_key, {"type": "text", "text": {"body": text}}
    number = party.phone_number_id
    item = Inbound(wamid, number, contact, contact, None, None, "text", payload, NOW)
    database.write_now(inbox.store_inbound, [item], {number: party.tenant_id}, NOW)


def _take_over(session: Session, party: Party) -> None:
    hand_over(session, lock(session, party), NOW, "api")


def _leave(session: Session, party: Party) -> None:
    wishes.record(session, party, Wish.LEAVE, "sair", NOW)


@pytest.mark.parametrize(
    ("text", "between", "reason"),
    [
        ("oi", _take_over, "a person has the conversation"),
        ("sair", _leave, "the contact opted out already, and was told so"),
    ],
)
def test_a_change_between_load_and_apply_makes_the_decision_outdated(
    database: Database, text: str, between: Any, reason: str
) -> None:
    party = Party(tenant(), fresh_number(), "5561994013828")
    wamid = f"wamid.{party.phone_number_id}"
    database.write_now(rules.install, party.tenant_id, NOW, defaults=False)
    make(database, party.tenant_id, "r", fields(["oi"]))
    hear(database, party, wamid, text)
    before = load(database, party, [wamid], POLICY, NOW)
    database.write_now(between, party)
    with pytest.raises(OutdatedError):
        settle(database, before, POLICY, wamid)
    again = settle(database, load(database, party, [wamid], POLICY, NOW), POLICY, wamid)
    assert (again.reply.status, again.reply.reason) == ("silent", reason)


def test_one_of_two_concurrent_decisions_is_outdated(database: Database) -> None:
    owner, contact = tenant(), "5561994013828"
    parties = [Party(owner, fresh_number(), contact) for _ in range(2)]
    database.write_now(rules.install, owner, NOW, defaults=False)
    make(database, owner, "r", fields(["oi"], max_uses_per_contact=1))
    for party in parties:
        hear(database, party, party.phone_number_id, "oi")
    loaded = [load(database, p, [p.phone_number_id], POLICY, NOW) for p in parties]
    first = settle(database, loaded[0], POLICY, parties[0].phone_number_id)
    assert first.reply.status == "answered"
    with pytest.raises(OutdatedError):
        settle(database, loaded[1], POLICY, parties[1].phone_number_id)
    anew = load(database, parties[1], [parties[1].phone_number_id], POLICY, NOW)
    assert settle(database, anew, POLICY, parties[1].phone_number_id).reply.rule_id is None


async def test_rules_are_read_and_matched_outside_the_write_transaction(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tenant's rules change after the first two looks, so that the decision is made three times."""
    owner, number = tenant(), fresh_number()
    party, wamid = Party(owner, number, "5561994013828"), f"wamid.{number}"
    database.write_now(rules.install, owner, NOW, defaults=False)
    make(database, owner, "r", fields(["oi"]))
    hear(database, party, wamid, "oi")
    writing = threading.local()
    write, find, read = Database._write, RuleBook._find, rules.list_all
    inside: dict[str, list[bool]] = {"matched": [], "read": []}

    def watched_write(self: Database, *args: Any, **more: Any) -> Any:
        writing.on = True
        try:
            return write(self, *args, **more)
        finally:
            writing.on = False

    def watched_find(self: RuleBook, text: str) -> Any:
        if text:
            inside["matched"].append(getattr(writing, "on", False))
        return find(self, text)

    def watched_read(session: Session, tenant_id: str) -> Any:
        inside["read"].append(getattr(writing, "on", False))
        return read(session, tenant_id)

    books, looks = rules.Books(), list[Loaded | None]()

    def look(session: Session) -> Loaded | None:
        looks.append(load_burst(session, books, party, [wamid], POLICY, NOW))
        if len(looks) <= 2:
            make(database, owner, f"other{len(looks)}", fields(["tchau"]))
        return looks[-1]

    monkeypatch.setattr(Database, "_write", watched_write)
    monkeypatch.setattr(RuleBook, "_find", watched_find)
    monkeypatch.setattr(rules, "list_all", watched_read)
    answered = await answer(database, look, party, POLICY, wamid)
    assert (answered.verdict.reply.status, answered.verdict.reply.rule_id) == ("answered", "r")
    assert inside == {"matched": [False] * 3, "read": [False] * 3}


def test_a_decision_runs_few_queries_however_many_rules_are_used_up(database: Database) -> None:
    owner, number, contact = tenant(), fresh_number(), "5561994013828"
    party = Party(owner, number, contact)
    database.write_now(rules.install, owner, NOW, defaults=False)
    for index in range(40):
        body = fields(["oi"], max_uses_per_contact=1, priority=index)
        make(database, owner, f"r{index}", body)
    asked: list[str] = []

    @event.listens_for(database.engine, "before_cursor_execute")
    def count(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    answered = []
    for turn in range(20):
        wamid, at = f"wamid.{number}.{turn}", NOW + timedelta(minutes=turn)
        item = Inbound(
            wamid,
            number,
            contact,
            contact,
            None,
            None,
            "text",
            {"from": contact, "type": "text", "text": {"body": "oi"}},
            at,
        )
        database.write_now(inbox.store_inbound, [item], {number: owner}, at)
        asked.clear()
        loaded = load(database, party, [wamid], POLICY, at)
        answered.append(settle(database, loaded, POLICY, wamid).reply.rule_id)
    assert answered == [f"r{index}" for index in range(39, 19, -1)]
    event.remove(database.engine, "before_cursor_execute", count)
    assert sum("count(" in statement for statement in asked) < 8  # not one for each of the 20


def test_uses_are_counted_over_as_many_periods_as_there_are_rules(database: Database) -> None:
    owner, number, contact = tenant(), fresh_number(), "5561994013828"
    party = Party(owner, number, contact)
    reply = AutoReply(
        key=f"k{number}",
        tenant_id=owner,
        phone_number_id=number,
        contact_key=contact,
        recipient=contact,
        rule_id="r",
        status="answered",
        at=NOW - timedelta(seconds=1000),
    )
    database.write_now(lambda session: session.add(reply))
    starts = [NOW - timedelta(seconds=seconds) for seconds in range(5000)]
    uses = database.read_now(uses_of, party, None, ["r"], starts)
    assert (uses["r"].count, list(uses["r"].since)) == (1, starts)
    assert list(uses["r"].since.values()) == [0] * 1001 + [1] * 3999


def test_the_cache_of_compiled_rules_is_bounded(database: Database) -> None:
    owners = [tenant() for _ in range(6)]
    for owner in owners:
        database.write_now(rules.install, owner, NOW, defaults=False)
        make(database, owner, "r", fields(["oi"]))
    one = database.read_now(rules.Books().load, owners[0])
    books = rules.Books(most_bytes=3 * one.size)
    loaded = [database.read_now(books.load, owner) for owner in owners]
    assert len(books._books) == 3
    # Those that were used last are there, the others are read anew; a change is seen at once.
    assert database.read_now(books.load, owners[-1]) is loaded[-1]
    assert database.read_now(books.load, owners[0]) is not loaded[0]
    make(database, owners[-1], "new", fields(["oi"]))
    assert "new" in database.read_now(books.load, owners[-1]).rules
    assert books._size == sum(book.size for book in books._books.values())

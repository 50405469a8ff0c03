"""Ownership of numbers: each change is one transaction that checks the owner first."""

from datetime import UTC, datetime, timedelta

import pytest

from pytake import number_transfer
from pytake.contacts import windows
from pytake.conversations import heard, inbox
from pytake.conversations import rule_store as rules
from pytake.conversations import state as conversation_state
from pytake.conversations.apply import Applied
from pytake.conversations.decide import Policy
from pytake.conversations.inbound import Inbound
from pytake.conversations.load import MovedError
from pytake.conversations.party import Party
from pytake.conversations.rules.etiquette import LoopBreaker
from pytake.database.engine import Database
from pytake.messages import gate as admission
from pytake.messages.gate import Candidate, Process
from pytake.numbers import owners as number_owners
from pytake.numbers import store as numbers
from pytake.numbers.owners import NumberError, Options
from pytake.numbers.tables import PhoneNumber
from pytake.whatsapp.errors import rule_for
from tests.conversations.deciding import load, settle
from tests.stack import fresh_number, fresh_recipient

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
NOTHING = Options()
DEFAULTS = Options(80, "portfolio", "TIER_0")


def add(database: Database, number: str, tenant: str, given: Options = NOTHING) -> PhoneNumber:
    return database.write_now(number_owners.add, number, tenant, given, DEFAULTS)


def found(database: Database, number: str) -> PhoneNumber | None:
    rows = database.read_now(numbers.visible, None)
    return next((row for row in rows if row.id == number), None)


def values(row: PhoneNumber | None) -> tuple[str, float, float, str, str, str | None]:
    assert row is not None
    return (
        row.tenant_id,
        row.base_rate,
        row.current_rate,
        row.portfolio_id,
        row.tier,
        row.reported_tier,
    )


def test_the_wrong_tenant_changes_nothing(database: Database) -> None:
    number = fresh_number()
    add(database, number, "acme", Options(20, "theirs", "TIER_1K"))
    with pytest.raises(NumberError, match="'acme'"):
        add(database, number, "intruder", Options(1000, "mine", "TIER_UNLIMITED"))
    assert values(found(database, number)) == ("acme", 20, 20, "theirs", "TIER_1K", None)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (Options(rate=5), ("acme", 5, 5, "theirs", "TIER_1K", "TIER_10K")),
        (Options(tier="TIER_2K"), ("acme", 20, 20, "theirs", "TIER_2K", "TIER_10K")),
        # The reported limit belongs to the previous portfolio and must not be used for the new one.
        (Options(portfolio_id="new"), ("acme", 20, 20, "new", "TIER_1K", None)),
    ],
)
def test_only_what_is_given_changes(
    database: Database, given: Options, expected: tuple[str, float, float, str, str, str | None]
) -> None:
    number = fresh_number()
    add(database, number, "acme", Options(20, f"theirs{number}", "TIER_1K"))
    database.write_now(numbers.report_tier, number, "", "TIER_10K")
    for change in (
        lambda: add(database, number, "acme", given),
        lambda: database.write_now(number_owners.change, number, given),
    ):
        tenant, base, current, portfolio, tier, reported = values(change())
        portfolio = portfolio.removesuffix(number)
        assert (tenant, base, current, portfolio, tier, reported) == expected


def test_a_throttled_number_stays_slow_when_its_rate_is_raised(database: Database) -> None:
    number = fresh_number()
    add(database, number, "acme", Options(80))
    database.write_now(numbers.throttle, number, NOW)
    assert database.write_now(number_owners.change, number, Options(100)).current_rate == 40
    assert database.write_now(number_owners.change, number, Options(10)).current_rate == 10


def test_errors_name_the_missing_number(database: Database) -> None:
    for call in (
        lambda: database.write_now(number_owners.change, "404", Options(1)),
        lambda: database.write_now(number_transfer.move, "404", "acme", NOW),
        lambda: database.write_now(number_transfer.remove, "404", NOW),
        lambda: database.write_now(number_owners.share, "404", "acme"),
    ):
        with pytest.raises(NumberError, match="no number '404'"):
            call()


def test_a_number_is_visible_to_its_owner_and_guests(database: Database) -> None:
    number = fresh_number()
    add(database, number, "owner")

    def sees(tenant: str) -> bool:
        return number in [row.id for row in database.read_now(numbers.visible, tenant)]

    guest = f"guest{number}"
    assert (sees("owner"), sees(guest)) == (True, False)
    assert database.write_now(number_owners.share, number, guest)
    assert not database.write_now(number_owners.share, number, guest), "it was shared before"
    assert sees(guest)
    assert database.read_now(number_owners.shared_with, [number]) == [guest]
    assert database.write_now(number_owners.unshare, [number], guest)
    assert not sees(guest)
    with pytest.raises(NumberError, match="own"):
        database.write_now(number_owners.share, number, "owner")


def test_a_share_of_the_installations_number_follows_the_setting(database: Database) -> None:
    first, second = fresh_number(), fresh_number()
    guest = f"guest{first}"
    database.write_now(number_owners.share, "", guest)
    for configured in (first, second):
        database.write_now(
            numbers.register_configured, configured, portfolio_id="p", rate=80, tier="TIER_0"
        )
        assert [row.id for row in database.read_now(numbers.visible, guest)] == [configured]


def test_a_moved_number_keeps_its_alerts_but_no_history(database: Database) -> None:
    number, contact, stranger = fresh_number(), fresh_recipient(), fresh_recipient()
    add(database, number, "before")
    said = [_inbound(number, "before", contact, NOW), _inbound(number, "before", stranger, NOW)]
    database.write_now(inbox.store_inbound, said, {number: "before"}, NOW)
    database.write_now(numbers.hold, number, rule_for(190), NOW)
    database.write_now(number_owners.share, number, "after")
    database.write_now(number_transfer.move, number, "after", NOW)
    database.write_now(number_transfer.move, number, "third", NOW)
    assert database.read_now(numbers.visible, "after") == [], "its share ended with the move"
    database.write_now(number_transfer.move, number, "after", NOW)

    def alerts(tenant: str) -> list[str | None]:
        open_ones = database.read_now(numbers.open_alerts, tenant)
        return [a.phone_number_id for a in open_ones if a.phone_number_id == number]

    assert (alerts("before"), alerts("after")) == ([], [number])

    def last(who: str, tenant: str | None) -> datetime | None:
        return database.read_now(windows.last_inbound_at, number, who, tenant)

    assert (last(contact, "before"), last(contact, "after"), last(contact, None)) == (
        NOW,
        None,
        NOW,
    )
    later = NOW + timedelta(hours=1)
    again = _inbound(number, "after", contact, later)
    database.write_now(inbox.store_inbound, [again], {number: "after"}, later)
    assert (last(contact, "before"), last(contact, "after")) == (None, later)
    assert last(stranger, "after") is None
    party = Party("after", number, contact)
    first, _ = database.read_now(heard.history_before, party, [again.wamid], later)
    assert first, "it is the contact's first message to this tenant"


def _inbound(number: str, tenant: str, contact: str, at: datetime) -> Inbound:
    return Inbound(
        f"w{number}{tenant}{contact}",
        number,
        contact,
        contact,
        None,
        "Ana",
        "text",
        {"from": contact, "text": {"body": "oi"}},
        at,
    )


def test_a_conversation_running_during_a_move_continues_for_the_new_owner(
    database: Database,
) -> None:
    number, contact = fresh_number(), fresh_recipient()
    add(database, number, "before")
    early, late = (_inbound(number, tenant, contact, NOW) for tenant in ("before", "after"))
    database.write_now(inbox.store_inbound, [early], {number: "before"}, NOW)
    database.write_now(inbox.store_inbound, [late], {number: "after"}, NOW)
    policy = Policy(timedelta(hours=1), timedelta(hours=4), LoopBreaker(10, 120, 3600), False)

    def decide(tenant: str) -> Applied:
        party, wamids = Party(tenant, number, contact), [early.wamid, late.wamid]
        return settle(database, load(database, party, wamids, policy, NOW), policy, late.wamid)

    database.write_now(rules.install, "after", NOW, defaults=False)
    with pytest.raises(MovedError) as moved:
        decide("before")
    assert database.read_now(conversation_state.find, Party("before", number, contact)) is None
    verdict = decide(moved.value.tenant_id)
    assert (verdict.reply.tenant_id, verdict.reply.key) == ("after", late.wamid)


def test_a_removed_number_sends_nothing_and_is_not_recreated(
    database: Database,
) -> None:
    number, contact = fresh_number(), fresh_recipient()
    add(database, number, "acme")
    database.write_now(numbers.hold, number, rule_for(190), NOW)
    database.write_now(number_owners.share, number, "guest")
    database.write_now(number_transfer.remove, number, NOW)
    batch = [Candidate(number, "acme", contact, counts=True, claim=f"msg_{number}")]
    (decision,) = database.write_now(
        admission.admit, batch, NOW, timedelta(seconds=30), Process("one", {})
    )
    assert (decision.unregistered, decision.send_at) == (True, None)
    assert found(database, number) is None
    assert number not in [a.phone_number_id for a in database.read_now(numbers.open_alerts, None)]
    # A response from Meta that arrives after the removal has nothing to change.
    assert database.write_now(numbers.throttle, number, NOW) is None
    database.write_now(admission.uncount, number, contact, NOW)
    # Added again, it is a new number: without its past state and without shares.
    add(database, number, "other")
    assert database.read_now(number_owners.shared_with, [number]) == []

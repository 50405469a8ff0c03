"""Loading, deciding and applying, synchronously."""

from datetime import datetime

from pytake.conversations import rule_store as rules
from pytake.conversations.apply import Applied, apply
from pytake.conversations.decide import Policy, decide
from pytake.conversations.load import Loaded, load_burst
from pytake.conversations.party import Party
from pytake.database.engine import Database


def load(
    database: Database, party: Party, wamids: list[str], policy: Policy, at: datetime
) -> Loaded:
    found = database.read_now(load_burst, rules.Books(), party, wamids, policy, at)
    assert found is not None
    return found


def settle(database: Database, loaded: Loaded, policy: Policy, key: str) -> Applied:
    verdict = decide(loaded.snapshot, loaded.book, policy)
    return database.write_now(apply, loaded.snapshot, verdict, policy, key)

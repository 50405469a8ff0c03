"""Which number a tenant sends from."""

import pytest

from pytake.numbers.senders import INSTALLATION, Sender, SenderError, Senders

ALL = Senders(
    [
        Sender("1", "default", 10),
        Sender("20", "one", 20),
        Sender("30", "many", 30),
        Sender("31", "many", 31),
        Sender("40", "default", 40),
    ],
    [("guest", INSTALLATION), ("guest", "40"), ("one", INSTALLATION)],
    Sender("1", "default", 80),
)


@pytest.mark.parametrize(
    ("tenant", "number", "rate"),
    [("default", "1", 80), ("one", "20", 20), ("guest", "1", 80)],
)
def test_a_message_that_names_no_number_goes_out_from_the_tenants_own(
    tenant: str, number: str, rate: float
) -> None:
    assert ALL.default(tenant) == Sender(number, ALL.default(tenant).tenant_id, rate)


@pytest.mark.parametrize(
    ("tenant", "why"), [("many", r"several numbers \(30, 31\)"), ("stranger", "no number")]
)
def test_a_tenant_with_several_numbers_or_none_must_name_one(tenant: str, why: str) -> None:
    with pytest.raises(SenderError, match=why):
        ALL.default(tenant)


def test_without_keys_everybody_may_use_the_installations_number() -> None:
    assert ALL.default("stranger", allow_unshared=True).phone_number_id == "1"
    assert ALL.default("one", allow_unshared=True).phone_number_id == "20"
    with pytest.raises(SenderError):
        ALL.default("many", allow_unshared=True)


@pytest.mark.parametrize(
    ("tenant", "number", "allowed"),
    [
        ("one", "20", True),
        ("one", "1", True),
        ("one", "30", False),
        ("one", "99", False),
        ("guest", "40", True),
        ("guest", "20", False),
        ("stranger", "1", False),
        ("many", "31", True),
    ],
)
def test_a_tenant_names_its_own_and_shared_numbers(tenant: str, number: str, allowed: bool) -> None:
    if allowed:
        assert ALL.named(tenant, number).phone_number_id == number
        return
    with pytest.raises(SenderError) as refused:
        ALL.named(tenant, number)
    with pytest.raises(SenderError) as unknown:
        ALL.named(tenant, "12345")
    assert str(refused.value) == str(unknown.value), (
        "the error does not reveal whether the number exists"
    )


def test_an_admin_names_any_registered_number() -> None:
    assert ALL.named("stranger", "30", any_owner=True).tenant_id == "many"
    with pytest.raises(SenderError, match="not registered"):
        ALL.named("stranger", "99", any_owner=True)


def test_the_configured_number_may_belong_to_another_tenant_or_be_unregistered() -> None:
    fresh = Senders([], [], Sender("1", "default", 80))
    assert fresh.default("default").phone_number_id == "1"
    moved = Senders([Sender("1", "acme", 5)], [], Sender("1", "default", 80))
    assert moved.default("acme") == Sender("1", "acme", 80)
    with pytest.raises(SenderError, match="no number"):
        moved.default("default")

"""``pytake number`` on the command line, without a Temporal server."""

from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from pytake.cli import app

CONFIGURED = "106540352242922"


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:9")
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'pytake.db'}")
    monkeypatch.setenv("COLUMNS", "200")
    for name in ("WHATSAPP_ACCESS_TOKEN", "WHATSAPP_PHONE_NUMBER_ID", "MESSAGE_TIER"):
        monkeypatch.delenv(name, raising=False)


def number(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["number", *arguments])


def said(*arguments: str) -> str:
    result = number(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def refused(*arguments: str) -> str:
    """Run a command that must fail; returns its output, which must be one line."""
    result = number(*arguments)
    assert result.exit_code == 1, result.output
    assert result.output.count("\n") == 1, result.output
    return result.output


def test_a_wrong_tenant_changes_nothing_and_an_option_leaves_the_others_unchanged() -> None:
    said("add", "700", "--tenant", "acme", "--tier", "TIER_1K", "--portfolio", "p7")
    assert "belongs to tenant 'acme'" in refused("add", "700", "--tier", "TIER_UNLIMITED")
    assert "acme, 80 messages/s, TIER_1K" in said("add", "700", "--tenant", "acme")
    assert "acme, 5 messages/s, TIER_1K" in said("set", "700", "--messages-per-second", "5")
    assert "acme, 5 messages/s, TIER_2K" in said("set", "700", "--tier", "TIER_2K")
    shown = said("show", "700")
    for text in ("tenant:      acme", "5, now 5", "TIER_2K", "p7", "active", "cannot be reached"):
        assert text in shown


def test_numbers_are_listed_and_shared() -> None:
    said("add", "700", "--tenant", "acme")
    said("add", "800", "--tenant", "other")
    assert "acme" in said("list")
    assert "700" not in said("list", "--tenant", "other")
    said("share", "700", "--tenant", "other")
    assert "already" in said("share", "700", "--tenant", "other")
    assert "700" in said("list", "--tenant", "other")
    assert "shared with: other" in said("show", "700")
    said("unshare", "700", "--tenant", "other")
    assert "not shared" in refused("unshare", "700", "--tenant", "other")
    assert "any number that is configured" in said("share", CONFIGURED, "--tenant", "other")
    said("unshare", CONFIGURED, "--tenant", "other")


def test_moving_and_removing_a_number_require_knowing_what_waits() -> None:
    said("add", "700", "--tenant", "acme")
    assert "--force" in refused("move", "700", "--tenant", "other")
    assert "--force" in refused("remove", "700")
    assert "tenant other" in said("move", "700", "--tenant", "other", "--force")
    assert "dead letter" in said("remove", "700", "--force")
    assert "no number '700'" in refused("remove", "700", "--force")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("add", "7²"), "digits only"),
        (("add", "+55 61"), "digits only"),
        (("show", "700"), "no number"),
        (("add", "7", "--tier", "TIER_9"), "--tier"),
        (("add", "7", "--tenant", "a'b"), "--tenant"),
        (("add", "7", "--messages-per-second", "0"), "--messages-per-second"),
        (("add", "7", "--portfolio", "a b"), "--portfolio"),
        (("set", "7"), "nothing to change"),
        (("set", CONFIGURED, "--tier", "TIER_1K"), "MESSAGE_TIER"),
        (("remove", CONFIGURED), "WHATSAPP_PHONE_NUMBER_ID"),
        (("set", "7", "--tier", "TIER_1K"), "no number"),
        (("share", "7", "--tenant", "a"), "no number"),
    ],
)
def test_errors_are_one_line(arguments: tuple[str, ...], why: str) -> None:
    assert why in refused(*arguments)


def test_a_database_that_is_down_is_reported_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:9/none")
    assert refused("list").startswith("DATABASE_URL: ")


@pytest.mark.parametrize("tenant", ["", "*", "açaí", "a b", "x" * 65])
def test_no_key_is_created_for_a_tenant_name_that_the_api_would_refuse(tenant: str) -> None:
    result = CliRunner().invoke(app, ["key", "create", "--tenant", tenant])
    assert (result.exit_code, result.output.count("\n")) == (1, 1), result.output
    assert "--tenant" in result.output
    assert not Path("pytake.db").exists()

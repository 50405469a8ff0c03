"""``pytake number``: who owns phone numbers, how fast they send, and who else sends from them.

API processes follow a change within 30 seconds (they cache the numbers), workers at once.
"""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer
from rich.table import Table

from pytake.clock import now
from pytake.commands import number_queue
from pytake.commands.terminal import console, fail, in_database, read_settings, tenant_name

if TYPE_CHECKING:
    from pytake.numbers.owners import Options
    from pytake.numbers.tables import PhoneNumber

T = TypeVar("T")

app = typer.Typer(help="Phone numbers of tenants.", no_args_is_help=True)

_DELAY: Final = "API processes follow within 30 seconds."

Number = Annotated[str, typer.Argument(metavar="PHONE_NUMBER_ID", help="Meta's phone number id")]
Tenant = Annotated[str, typer.Option(help="The tenant")]
Rate = Annotated[float | None, typer.Option("--messages-per-second", help="Its throughput")]
Portfolio = Annotated[
    str | None, typer.Option(help="Numbers of one portfolio share a messaging limit")
]
Tier = Annotated[str | None, typer.Option(help="Its messaging limit, until Meta reports one")]
Force = Annotated[bool, typer.Option("--force", help="Even if something waits for it")]


@app.command("add")
def add(
    phone_number_id: Number,
    tenant: Annotated[str, typer.Option(help="The tenant that owns it")] = "default",
    messages_per_second: Rate = None,
    portfolio: Portfolio = None,
    tier: Tier = None,
) -> None:
    """Register a number for a tenant; if it already has the number, change the given options."""
    from pytake.numbers import owners as number_owners
    from pytake.numbers.owners import Options

    given = _options(phone_number_id, messages_per_second, portfolio, tier)
    known = read_settings()
    defaults = Options(
        known.whatsapp.messages_per_second,
        known.whatsapp.business_account_id,
        known.whatsapp.tier.name,
    )
    _report(
        _write(number_owners.add, phone_number_id, tenant_name(tenant), given, defaults),
        steer=given.rate is not None,
    )


@app.command("set")
def set_options(
    phone_number_id: Number,
    messages_per_second: Rate = None,
    portfolio: Portfolio = None,
    tier: Tier = None,
) -> None:
    """Change the given options of a number."""
    from pytake.numbers import owners as number_owners
    from pytake.numbers.owners import Options

    given = _options(phone_number_id, messages_per_second, portfolio, tier)
    if given == Options():
        fail("nothing to change: give --messages-per-second, --portfolio or --tier")
    _report(
        _write(number_owners.change, phone_number_id, given), steer=messages_per_second is not None
    )


@app.command("list")
def list_numbers(
    tenant: Annotated[str | None, typer.Option(help="Only numbers that it may send from")] = None,
) -> None:
    """List the numbers."""
    from pytake.numbers import store as numbers

    rows: list[PhoneNumber] = in_database(
        lambda database: database.read_now(numbers.visible, tenant)
    )
    table = Table("id", "tenant", "messages/s", "tier", "portfolio", "state")
    for row in rows:
        table.add_row(
            row.id, row.tenant_id, f"{row.base_rate:g}", _tier(row), row.portfolio_id, row.state
        )
    console.print(table)


@app.command("show")
def show(phone_number_id: Number) -> None:
    """Show a number, who may send from it, and what waits for it."""
    from pytake.numbers import owners as number_owners

    row = _registered(phone_number_id)
    tenants: list[str] = in_database(
        lambda database: database.read_now(number_owners.shared_with, _shares_of(phone_number_id))
    )
    waiting, connected = number_queue.with_client(number_queue.count, phone_number_id)
    for name, value in {
        "number": row.id,
        "tenant": row.tenant_id,
        "shared with": ", ".join(tenants) or "nobody",
        "messages/s": f"{row.base_rate:g}, now {row.current_rate:g}",
        "tier": _tier(row),
        "portfolio": row.portfolio_id,
        "state": f"{row.state}{f': {row.reason}' if row.reason else ''}",
        "waiting": "Temporal cannot be reached"
        if waiting is None
        else _summary(waiting) or "nothing",
    }.items():
        typer.echo(f"{name + ':':<13}{value}")
    number_queue.finish(connected)


@app.command("move")
def move(
    phone_number_id: Number,
    tenant: Annotated[str, typer.Option(help="The new owner")],
    force: Force = False,
) -> None:
    """Give a number to another tenant, once nothing waits for it."""
    from pytake import number_transfer

    tenant_name(tenant)
    connected = _refuse_waiting(phone_number_id, force=force)
    row = _write(number_transfer.move, phone_number_id, tenant, now())
    typer.echo(f"{row.id}: tenant {row.tenant_id}. {_DELAY}")
    typer.echo(
        "Messages accepted before still go out from it. Earlier messages, contacts, conversations, "
        "opt-outs, rules and counts stay with the previous tenant; inbound messages and events go to the "
        "new one from now on."
    )
    number_queue.finish(connected)


@app.command("remove")
def remove(phone_number_id: Number, force: Force = False) -> None:
    """Remove a number, once nothing waits for it."""
    from pytake import number_transfer

    if phone_number_id == read_settings().whatsapp.phone_number_id:
        fail(
            "it is the configured number: set WHATSAPP_PHONE_NUMBER_ID to another one first, and "
            "restart the workers"
        )
    connected = _refuse_waiting(phone_number_id, force=force)
    row = _write(number_transfer.remove, phone_number_id, now())
    removed, reached = number_queue.with_client(number_queue.remove_rate, phone_number_id)
    typer.echo(f"{row.id}: removed. {_DELAY}")
    typer.echo(
        "Messages that still wait for it, or are accepted within those seconds, become dead letters. Messages, "
        "contacts, conversations and counts stay, as do rules and business hours that name it."
    )
    if removed is None:
        typer.echo("Temporal cannot be reached: the rate of its queue remains set, without effect.")
    number_queue.finish(connected or reached)


@app.command("share")
def share(phone_number_id: Number, tenant: Tenant) -> None:
    """Let another tenant send from a number; inbound messages still go to the owner."""
    from pytake.numbers import owners as number_owners
    from pytake.numbers.senders import INSTALLATION

    _check_id(phone_number_id)
    configured = phone_number_id == read_settings().whatsapp.phone_number_id
    number = INSTALLATION if configured else phone_number_id
    made = _write(number_owners.share, number, tenant_name(tenant))
    what = f"{tenant} may send from {phone_number_id}"
    if configured:
        what += ", and from any number that is configured later"
    typer.echo(f"{what}. {_DELAY}" if made else f"{what} already")


@app.command("unshare")
def unshare(phone_number_id: Number, tenant: Tenant) -> None:
    """Stop sharing a number with a tenant; messages already accepted still go out."""
    from pytake.numbers import owners as number_owners

    _check_id(phone_number_id)
    if not _write(number_owners.unshare, _shares_of(phone_number_id), tenant_name(tenant)):
        fail(f"{phone_number_id} is not shared with tenant {tenant!r}")
    typer.echo(f"{tenant} may no longer send from {phone_number_id}. {_DELAY}")


def _options(
    phone_number_id: str, rate: float | None, portfolio: str | None, tier: str | None
) -> "Options":
    from pytake.numbers.owners import Options
    from pytake.whatsapp.limits import parse_tier

    _check_id(phone_number_id)
    if rate is not None and not 0 < rate <= 1000:
        fail("--messages-per-second: must be above 0 and at most 1000")
    if portfolio is not None and not re.fullmatch(r"[0-9A-Za-z_-]{1,64}", portfolio):
        fail("--portfolio: letters, digits, '-' and '_', at most 64")
    try:
        name = None if tier is None else parse_tier(tier).name
    except ValueError as error:
        fail(f"--tier: {error}")
    given = Options(rate, portfolio, name)
    if given != Options() and phone_number_id == read_settings().whatsapp.phone_number_id:
        fail(
            "the configured number follows WHATSAPP_MESSAGES_PER_SECOND, MESSAGE_TIER and "
            "WHATSAPP_BUSINESS_ACCOUNT_ID: change them there, and restart"
        )
    return given


def _check_id(phone_number_id: str) -> None:
    if not re.fullmatch(r"[0-9]{1,32}", phone_number_id):
        fail("PHONE_NUMBER_ID: digits only, at most 32")


def _registered(phone_number_id: str) -> "PhoneNumber":
    from pytake.numbers import store as numbers

    _check_id(phone_number_id)
    row: PhoneNumber | None = in_database(
        lambda database: database.read_now(numbers.get, phone_number_id)
    )
    if row is None:
        fail(f"no number {phone_number_id!r}")
    return row


def _shares_of(phone_number_id: str) -> list[str]:
    """The ids that shares of a number may be stored under."""
    from pytake.numbers.senders import INSTALLATION

    configured = phone_number_id == read_settings().whatsapp.phone_number_id
    return [phone_number_id, INSTALLATION] if configured else [phone_number_id]


def _write(function: Callable[..., T], *args: Any) -> T:
    from pytake.numbers.owners import NumberError

    try:
        return in_database(lambda database: database.write_now(function, *args))
    except NumberError as error:
        fail(str(error))


def _tier(row: "PhoneNumber") -> str:
    if row.reported_tier is None:
        return row.tier
    return f"{row.reported_tier} (reported by Meta)"


def _report(row: "PhoneNumber", *, steer: bool) -> None:
    """Print a changed number; with ``steer``, apply its rate to its queue."""
    typer.echo(
        f"{row.id}: tenant {row.tenant_id}, {row.base_rate:g} messages/s, {_tier(row)}. {_DELAY}"
    )
    if not steer:
        return
    done, connected = number_queue.with_client(number_queue.apply_rate, row)
    if done is None:
        typer.echo("Temporal cannot be reached: run this again to apply the rate to the queue")
    number_queue.finish(connected)


def _refuse_waiting(phone_number_id: str, *, force: bool) -> bool:
    """Refuse, with counts, while something waits for the number.

    Returns:
        Whether a Temporal client was created.
    """
    from pytake import number_transfer

    _registered(phone_number_id)
    if force:
        return False
    waiting, connected = number_queue.with_client(number_queue.count, phone_number_id)
    if waiting is None:
        fail(
            "Temporal cannot be reached to see what waits for the number: start it, or use --force"
        )
    unsignalled: int = in_database(
        lambda database: database.read_now(number_transfer.unsignalled, phone_number_id)
    )
    waiting["inbound messages not handled yet"] = unsignalled
    if any(waiting.values()):
        typer.echo(
            f"something waits for the number: {_summary(waiting)}. Wait for it, cancel it, or use "
            "--force",
            err=True,
        )
        number_queue.finish(connected, 1)
    return connected


def _summary(waiting: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in waiting.items() if count)

"""What Meta's answer to a probe of a held number means for the number and the message."""

from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from sqlmodel import select
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.messages.answers import Answers, SendOptions
from pytake.clock import now
from pytake.database.engine import Database
from pytake.messages.contracts import SendOutcome
from pytake.messages.gate import Admission
from pytake.messages.tables import SendAttempt
from pytake.numbers import store as numbers
from pytake.numbers.tables import PhoneNumber
from pytake.whatsapp.client import NotSentError, RefusedError, SendError
from pytake.whatsapp.errors import ERRORS
from tests.messages.samples import message
from tests.stack import fresh_number

OPTIONS = SendOptions("p", call_timeout=20, receipt_wait=10, redrive_wait_codes=False)
SOON = timedelta(seconds=1)


def refused(code: int, subcode: int | None = None) -> RefusedError:
    return RefusedError(code, 400, "no", "", "", subcode=subcode)


@pytest.mark.parametrize(
    ("error", "requeued", "attempts", "again_at_once"),
    [
        (refused(190), True, 0, False),
        (refused(100, 33), True, 0, False),
        (refused(131057), True, 0, False),
        (refused(130429), True, 0, False),
        (refused(131056), False, 0, True),
        (refused(130497), False, 1, True),
        (refused(131026), False, 1, True),
        (refused(131000), False, 1, False),
        (NotSentError("no connection"), False, 1, False),
    ],
    ids=str,
)
async def test_a_probes_answer_spends_and_releases_only_what_it_is_about(
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    error: SendError,
    requeued: bool,
    attempts: int,
    again_at_once: bool,
) -> None:
    async def follow(*_: object) -> None:
        """No Temporal server here."""

    monkeypatch.setattr("activities.messages.answers.follow_number", follow)
    number, at = fresh_number(), now()
    registered: dict[str, Any] = {"portfolio_id": "p", "rate": 80.0, "tier": "TIER_1K"}
    database.write_now(numbers.register, number, tenant_id="t", **registered)
    database.write_now(numbers.hold, number, ERRORS[190], at)

    def probing(session: Any) -> None:
        row = session.get_one(PhoneNumber, number)
        row.next_probe_at, row.probe_lease_until = at, at + timedelta(seconds=30)

    database.write_now(probing)
    request = message(f"msg_{number}").request().model_copy(update={"phone_number_id": number})
    answers = Answers(database, None, OPTIONS)  # type: ignore[arg-type]
    result = None
    probe = Admission(send_at=at, probe=True)
    with suppress(ApplicationError):
        result = await ActivityEnvironment().run(answers.refused, request, probe, 0, error)
    assert (result is not None and result.outcome is SendOutcome.REQUEUE) is requeued
    row = database.read_now(numbers.get, number)
    assert row is not None
    assert (row.state, row.probe_lease_until) == ("held", None)
    assert row.next_probe_at is not None
    assert (row.next_probe_at < now() + SOON) is again_at_once
    logged = database.read_now(
        lambda session: session.exec(
            select(SendAttempt).where(SendAttempt.message_id == request.message_id)
        ).all()
    )
    assert len(logged) == attempts

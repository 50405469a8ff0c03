"""Acting on a callback request once it is stored and committed."""

from datetime import timedelta
from typing import Final

from pytake.callback.intake import Stored
from pytake.conversations.start import ConversationStarter
from pytake.database.engine import Database
from pytake.messages import receipts
from pytake.messages.accept import Acceptor
from pytake.messages.tables import Message
from pytake.messages.waits import WaitReason
from pytake.messages.wake import Waker
from pytake.problems import ConflictError
from pytake.webhooks.dispatch import Dispatcher
from pytake.whatsapp.errors import ERRORS, ErrorClass

_WAIT_CODES: Final = [code for code, rule in ERRORS.items() if rule.error_class is ErrorClass.WAIT]


class FollowUp:
    """Starts the work that a stored request calls for; after a crash, the sweeps start it.

    ``redrives``: whether messages that failed with a ``WAIT`` code are queued again.
    """

    def __init__(
        self,
        database: Database,
        dispatcher: Dispatcher,
        conversations: ConversationStarter,
        waker: Waker,
        acceptor: Acceptor,
        *,
        redrives: bool,
    ) -> None:
        self._database = database
        self._dispatcher = dispatcher
        self._conversations = conversations
        self._waker = waker
        self._acceptor = acceptor
        self._redrives = redrives

    async def of(self, stored: Stored) -> None:
        """Dispatch its events, signal conversations, wake waiting messages, redrive failed ones."""
        self._dispatcher.soon(stored.raised)
        self._conversations.soon(stored.waiting)
        if stored.limits:
            self._waker.wake(WaitReason.TIER_WINDOW_FULL)
        if self._redrives and stored.failed:
            await self._redrive(stored.failed)

    async def _redrive(self, wamids: list[str]) -> None:
        """Schedule messages that failed with a ``WAIT`` code again, after the wait."""
        rows: list[Message] = await self._database.read(
            receipts.failed_to_redrive, wamids, _WAIT_CODES
        )
        for row in rows:
            wait = timedelta(seconds=ERRORS[row.error_code or 0].wait_seconds)
            try:
                await self._acceptor.redrive(row, wait)
            except ConflictError:
                continue  # already done by an earlier delivery of this request

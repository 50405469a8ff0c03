"""Faults that can be switched on in the sandbox."""

import random
from enum import StrEnum
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, model_validator


class FaultKind(StrEnum):
    """What goes wrong."""

    ERROR = "error"
    """The response is Meta's error ``code``; nothing is accepted."""
    LATENCY = "latency"
    """The response takes ``seconds`` longer."""
    DROP_BEFORE = "drop_before"
    """The connection is reset, nothing is accepted."""
    DROP_AFTER = "drop_after"
    """The message is accepted, then the connection is closed without an answer."""
    HANG_AFTER = "hang_after"
    """The message is accepted, but no response is ever sent."""
    HELD = "held"
    """The message is accepted, with the status held for quality assessment."""
    STATUS_FAILED = "status_failed"
    """The message is accepted, then a ``failed`` status with ``code`` follows."""
    STATUS_REORDER = "status_reorder"
    """The statuses come in reverse: read, delivered, sent."""
    STATUS_DUPLICATE = "status_duplicate"
    """Every status comes three times."""
    STATUS_UNREAD = "status_unread"
    """The message is delivered, but never read."""
    STATUS_WITHHOLD = "status_withhold"
    """No status is sent until the faults are cleared."""


STATUS_KINDS: Final = frozenset(
    {
        FaultKind.STATUS_FAILED,
        FaultKind.STATUS_REORDER,
        FaultKind.STATUS_DUPLICATE,
        FaultKind.STATUS_UNREAD,
        FaultKind.STATUS_WITHHOLD,
    }
)


class Fault(BaseModel):
    """One fault; it affects messages until ``count`` is used up."""

    model_config = ConfigDict(extra="forbid")

    kind: FaultKind
    code: int | None = None
    """Meta's error code, for ``error`` and ``status_failed``."""
    subcode: int | None = None
    """Meta's ``error_subcode``, for ``error``."""
    is_transient: bool | None = None
    """Meta's ``is_transient``, for ``error``: whether a retry may help."""
    count: Annotated[int, Field(ge=1)] | None = None
    """How many messages it affects; ``null``: all until it is cleared."""
    to: str | None = None
    """Only messages to this recipient."""
    rate: Annotated[float, Field(ge=0, le=1)] | None = None
    """Fraction of the messages that it affects, at random."""
    seconds: Annotated[float, Field(ge=0, le=600)] = 2.0
    """For ``latency``."""

    @model_validator(mode="after")
    def _needs_code(self) -> "Fault":
        if self.kind in (FaultKind.ERROR, FaultKind.STATUS_FAILED) and self.code is None:
            raise ValueError(f"{self.kind} needs a code")
        return self


_MOST: Final = 1_000


class Faults:
    """The active faults; the oldest that matches applies."""

    def __init__(self, seed: int | None = None) -> None:
        self._faults: list[Fault] = []
        self._random = random.Random(seed)  # noqa: S311 - chance, not secrecy

    def add(self, fault: Fault) -> None:
        """Switch a fault on.

        Raises:
            OverflowError: too many are on.
        """
        if len(self._faults) >= _MOST:
            raise OverflowError(f"{_MOST} faults are on: clear them first")
        self._faults.append(fault)

    def clear(self) -> None:
        """Switch every fault off."""
        self._faults.clear()

    def list(self) -> list[Fault]:
        """The active faults, with their remaining counts."""
        return list(self._faults)

    def strike(self, to: str, *, statuses: bool) -> Fault | None:
        """The fault for a message to ``to`` (digits), if any; uses up one of its count."""
        for fault in self._faults:
            if (fault.kind in STATUS_KINDS) is not statuses:
                continue
            if fault.to is not None and fault.to.lstrip("+") != to:
                continue
            if fault.rate is not None and self._random.random() >= fault.rate:
                continue
            if fault.count is not None:
                fault.count -= 1
                if fault.count == 0:
                    self._faults.remove(fault)
            return fault
        return None

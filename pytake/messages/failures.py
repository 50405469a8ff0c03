"""How an attempt fails, as Temporal's retry policies and the workflow read it."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from temporalio.exceptions import ActivityError, ApplicationError, ApplicationErrorCategory

from pytake.messages.contracts import Problem


class FailureType(StrEnum):
    """``ApplicationError.type``."""

    TRANSIENT = "Transient"
    """Nothing was sent; tried again by the retry policy."""
    AMBIGUOUS = "Ambiguous"
    """Meta may have accepted the message; tried again if no receipt comes."""
    PERMANENT = "Permanent"
    """Not tried again."""
    DEAD_LETTER = "DeadLetter"
    """Of the workflow itself."""


_TYPES: Final = frozenset(kind.value for kind in FailureType)


@dataclass(frozen=True, slots=True)
class SendFailure:
    """Why an attempt failed, after how many attempts of the message in all."""

    problem: Problem
    type: FailureType
    attempts: int | None = None
    """``None`` in a failure that does not say it."""

    def error(self, *, retry: bool = False, delay: timedelta | None = None) -> ApplicationError:
        """As an activity raises it: tried again if ``retry``, after ``delay`` or the policy's wait."""
        return ApplicationError(
            _text(self.problem),
            self.problem.model_dump(mode="json"),
            self.attempts,
            type=self.type.value,
            non_retryable=not retry,
            next_retry_delay=delay,
            category=ApplicationErrorCategory.BENIGN,
        )

    @classmethod
    def read(cls, error: BaseException | None) -> "SendFailure | None":
        """What a failure carries, an activity's too; ``None`` of one that is not ours."""
        if isinstance(error, ActivityError):
            error = error.cause
        if not isinstance(error, ApplicationError) or error.type not in _TYPES or not error.details:
            return None
        attempts = int(error.details[1]) if len(error.details) > 1 else None
        return cls(Problem.model_validate(error.details[0]), FailureType(error.type), attempts)


def dead_letter(problem: Problem) -> ApplicationError:
    """How the workflow of a message ends that is given up."""
    return ApplicationError(
        _text(problem), problem.model_dump(mode="json"), type=FailureType.DEAD_LETTER.value
    )


def _text(problem: Problem) -> str:
    return f"{problem.title}{f': {problem.detail}' if problem.detail else ''}"

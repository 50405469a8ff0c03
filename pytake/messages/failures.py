"""Failed attempts, as the errors that Temporal's retry policies and the workflow understand."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from temporalio.exceptions import ActivityError, ApplicationError, ApplicationErrorCategory

from pytake.messages.contracts import Problem


class FailureType(StrEnum):
    """``ApplicationError.type``."""

    TRANSIENT = "Transient"
    """Nothing was sent; the retry policy retries it."""
    AMBIGUOUS = "Ambiguous"
    """Meta may have accepted the message; retried if no receipt arrives."""
    PERMANENT = "Permanent"
    """Not retried."""
    DEAD_LETTER = "DeadLetter"
    """Failure of the workflow itself."""


_TYPES: Final = frozenset(kind.value for kind in FailureType)


@dataclass(frozen=True, slots=True)
class SendFailure:
    """Why an attempt failed, and how many attempts the message has had."""

    problem: Problem
    type: FailureType
    attempts: int | None = None
    """``None`` if the failure does not carry the count."""

    def error(self, *, retry: bool = False, delay: timedelta | None = None) -> ApplicationError:
        """The error for an activity to raise; with ``retry``, retried after ``delay`` or the policy's
        interval.
        """
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
        """Read a failure, unwrapping an activity error; ``None`` if it is not one of ours."""
        if isinstance(error, ActivityError):
            error = error.cause
        if not isinstance(error, ApplicationError) or error.type not in _TYPES or not error.details:
            return None
        attempts = int(error.details[1]) if len(error.details) > 1 else None
        return cls(Problem.model_validate(error.details[0]), FailureType(error.type), attempts)


def dead_letter(problem: Problem) -> ApplicationError:
    """The error that ends the workflow of a message that is given up."""
    return ApplicationError(
        _text(problem), problem.model_dump(mode="json"), type=FailureType.DEAD_LETTER.value
    )


def _text(problem: Problem) -> str:
    return f"{problem.title}{f': {problem.detail}' if problem.detail else ''}"

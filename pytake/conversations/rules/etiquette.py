"""Manners that no rule can switch off: leaving, coming back, and bots that answer bots."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from pytake.conversations.rules.rules import Rule, SendMessage
from pytake.conversations.rules.text import fold
from pytake.conversations.rules.triggers import OptTrigger

OPT_OUT_WORDS: Final = frozenset(
    {
        "parar",
        "pare",
        "sair",
        "cancelar",
        "descadastrar",
        "descadastre",
        "remover",
        "stop",
        "unsubscribe",
        "opt out",
        "parar promocoes",
        "stop promotions",
        "nao quero mais receber",
        "cancelar inscricao",
    }
)
"""A message that is one of these, and nothing else, leaves."""
OPT_IN_WORDS: Final = frozenset({"voltar", "retornar", "start", "quero receber"})
_PUNCTUATION: Final = " .!?,;:\"'*_-"
_LONGEST_WISH: Final = 200
"""Characters, many times those of the longest word: what is longer says more than that."""


class Wish(StrEnum):
    """What a contact wants of marketing messages."""

    LEAVE = "OptOut"
    RETURN = "OptIn"


def wish(text: str) -> Wish | None:
    """Whether a message is an opt-out or a return word, whatever its case, accents and dots."""
    short = " ".join(text.split())
    if len(short) > _LONGEST_WISH:
        return None
    words = fold(short).strip(_PUNCTUATION)
    if words in OPT_OUT_WORDS:
        return Wish.LEAVE
    if words in OPT_IN_WORDS:
        return Wish.RETURN
    return None


def _confirmation(kind: Wish, text: str) -> Rule:
    return Rule(
        id=kind.value.lower(),
        name=kind.value,
        trigger=OptTrigger(type=kind.value),
        response=SendMessage(action="SendMessage", text=text),
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


CONFIRMATIONS: Final = {
    Wish.LEAVE: _confirmation(
        Wish.LEAVE,
        "Pronto: você não receberá mais mensagens promocionais nossas. Para voltar a recebê-las, envie VOLTAR.",
    ),
    Wish.RETURN: _confirmation(
        Wish.RETURN,
        "Que bom ter você de volta! Você receberá de novo as nossas novidades. Para sair, envie SAIR.",
    ),
}
"""What is answered where no active rule of the tenant has the trigger OptOut or OptIn."""


@dataclass(frozen=True, slots=True)
class LoopBreaker:
    """A contact who got ``exchanges`` answers within ``seconds`` is no person: silence for a while."""

    exchanges: int
    seconds: float
    pause_seconds: float

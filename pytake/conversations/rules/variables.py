"""``{{name}}``-style variables in what rules answer.

Every variable has a longest value, so that a text that fits when the rule is saved also fits when
a customer waits. ``{{name|friend}}`` gives what to say when the name is not known.
"""

import re
from collections.abc import Mapping
from typing import Final

LONGEST: Final[Mapping[str, int]] = {
    "name": 60,
    "first_name": 30,
    "phone": 20,
    "message": 200,
    "greeting": 10,
    "date": 10,
    "time": 5,
    "weekday": 15,
    "business_hours": 400,
    "opens_at": 60,
}
"""The variables, and how many characters of each are used at most."""

_ALIASES: Final = {
    "nome": "name",
    "primeiro_nome": "first_name",
    "telefone": "phone",
    "mensagem": "message",
    "saudacao": "greeting",
    "data": "date",
    "hora": "time",
    "dia": "weekday",
    "horario": "business_hours",
    "abre": "opens_at",
}
"""The same in Portuguese."""

# Possessive (``*+``): what was read is not tried again in other lengths, so that the time is linear
# in the text whatever it holds. Spaces are cut off the name afterwards, for the same reason.
_PLACEHOLDER: Final = re.compile(r"\{\{([^{}|]*+)(?:\|([^{}]*+))?\}\}")
_DANGLING: Final = re.compile(r",?[ ]?\{\{([^{}|]*+)\}\}")
_SHOWN: Final = 60
"""Characters of a wrong name that the answer repeats."""


def check(text: str) -> None:
    """Refuse variables that do not exist.

    Raises:
        ValueError: names the variable and those that exist.
    """
    for match in _PLACEHOLDER.finditer(text):
        name = match[1].strip()
        if _ALIASES.get(name, name) not in LONGEST:
            known = ", ".join(LONGEST)
            raise ValueError(f"{{{{{name[:_SHOWN]}}}}} is not a variable: use one of {known}")


def longest(text: str) -> str:
    """The text with every variable at its longest."""
    return render(text, {name: "x" * size for name, size in LONGEST.items()})


def render(text: str, values: Mapping[str, str]) -> str:
    """Fill the variables in; one without a value and a fallback goes, with the comma before it."""

    def known(name: str) -> str:
        key = _ALIASES.get(name.strip(), name.strip())
        return values.get(key, "")[: LONGEST.get(key, 0)]

    def fill(match: re.Match[str]) -> str:
        return known(match[1]) or (match[2] or "").strip()

    tidy = _DANGLING.sub(lambda match: match[0] if known(match[1]) else "", text)
    return _PLACEHOLDER.sub(fill, tidy)

"""Folding: how texts are compared, so that "PROMOCAO" is "promoção" and 👍🏽 is 👍."""

import unicodedata
from typing import Final

_SKIN_TONES: Final = range(0x1F3FB, 0x1F400)
_VARIATION_SELECTORS: Final = range(0xFE00, 0xFE10)
_MARKS_IN_A_ROW: Final = 30
_KNOWN_CHARACTERS: Final = 10_000
"""Remembered at most: strangers choose which characters come."""


def fold(text: str, *, accents: bool = False) -> str:
    """The text as it is compared: no case, one space between words, plain emoji.

    Compatibility forms are unified (NFKD), so that "ﬁ" is "fi" and "①" is "1"; characters that
    nobody sees (variation selectors, zero-width ones) and skin tones are dropped, and so are
    accents unless ``accents`` keeps them.
    """
    # Marks in no order take the square of their number to sort; those in order none.
    if not unicodedata.is_normalized("NFC", text):
        text = _few_marks(text)
    decomposed = unicodedata.normalize("NFKD", text).upper().casefold()
    kept = unicodedata.normalize("NFKD", decomposed).translate(_ACCENTED if accents else _PLAIN)
    return " ".join(unicodedata.normalize("NFC", kept).split())


def _few_marks(text: str) -> str:
    """The text without the marks beyond 30 in a row, which is more than any language has (the
    stream-safe format of Unicode's UAX #15).
    """
    kept: list[str] = []
    row = 0
    for character in text:
        row = row + 1 if unicodedata.combining(character) else 0
        if row <= _MARKS_IN_A_ROW:
            kept.append(character)
    return "".join(kept)


class _Kept(dict[int, int | None]):
    """For ``str.translate``: a character stays or goes; found out once for most."""

    def __init__(self, *, accents: bool) -> None:
        super().__init__()
        self._accents = accents

    def __missing__(self, code: int) -> int | None:
        kept = None if self._ignored(code) else code
        if len(self) < _KNOWN_CHARACTERS:
            self[code] = kept
        return kept

    def _ignored(self, code: int) -> bool:
        category = unicodedata.category(chr(code))
        if category == "Mn":
            return not self._accents or code in _VARIATION_SELECTORS
        return category in ("Me", "Cf", "Cs") or code in _SKIN_TONES


_PLAIN: Final = _Kept(accents=False)
_ACCENTED: Final = _Kept(accents=True)

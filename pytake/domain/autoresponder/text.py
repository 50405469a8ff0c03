"""Folding: how texts are compared, so that "PROMOCAO" is "promoção" and 👍🏽 is 👍."""

import unicodedata
from typing import Final

_SKIN_TONES: Final = range(0x1F3FB, 0x1F400)
_VARIATION_SELECTORS: Final = range(0xFE00, 0xFE10)


def fold(text: str, *, accents: bool = False) -> str:
    """The text as it is compared: no case, one space between words, plain emoji.

    Compatibility forms are unified (NFKD), so that "ﬁ" is "fi" and "①" is "1"; characters that
    nobody sees (variation selectors, zero-width ones) and skin tones are dropped, and so are
    accents unless ``accents`` keeps them.
    """
    decomposed = unicodedata.normalize("NFKD", text).upper().casefold()
    kept = "".join(
        character
        for character in unicodedata.normalize("NFKD", decomposed)
        if not _ignored(character, accents)
    )
    return " ".join(unicodedata.normalize("NFC", kept).split())


def _ignored(character: str, accents: bool) -> bool:
    if character.isascii():
        return False
    category = unicodedata.category(character)
    if category == "Mn":
        return not accents or ord(character) in _VARIATION_SELECTORS
    return category in ("Me", "Cf", "Cs") or ord(character) in _SKIN_TONES


def is_word_character(character: str) -> bool:
    """Whether a word goes on with the character: letters, digits and the underscore."""
    return character == "_" or unicodedata.category(character)[0] in "LN"

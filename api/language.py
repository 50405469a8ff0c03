"""The language of texts in responses, from ``Accept-Language``."""

from typing import Annotated

from fastapi import Depends, Header, Response

from pytake.texts import Language


def preferred(header: str | None) -> Language:
    """``pt-BR`` or ``en``, whichever the header prefers; ``en`` without a preference."""
    best: tuple[float, int, Language] = (0.0, 0, "en")
    for position, part in enumerate((header or "").split(",")[:20]):
        tag, _, parameters = part.strip().partition(";")
        language = tag.strip().lower().split("-")[0]
        if language not in ("pt", "en"):
            continue
        try:
            quality = float(parameters.strip().removeprefix("q=")) if parameters else 1.0
        except ValueError:
            continue
        found: Language = "pt-BR" if language == "pt" else "en"
        if quality > best[0]:
            best = (quality, position, found)
    return best[2]


async def get_language(
    response: Response,
    accept_language: Annotated[
        str | None, Header(description="`pt-BR` or `en`: the language of titles and advice")
    ] = None,
) -> Language:
    """The caller's language; also sets ``Content-Language``."""
    language = preferred(accept_language)
    response.headers["Content-Language"] = language
    response.headers["Vary"] = "Accept-Language"
    return language


LanguageDep = Annotated[Language, Depends(get_language)]

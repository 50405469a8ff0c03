"""Uploaded media: their descriptions and bytes, and which are gone."""

import hashlib
import secrets
from collections import OrderedDict
from typing import Any, Final

from cachetools import FIFOCache

from pytake.sandbox.validation import UnknownObjectError

_KEPT_BYTES: Final = 256 * 1024 * 1024
_KEPT_FILES: Final = 10_000
_KEPT_IDS: Final = 100_000


class MediaStore:
    """The files, in memory; the oldest go when they are too many or too large."""

    def __init__(self) -> None:
        self._files: OrderedDict[str, tuple[dict[str, Any], bytes]] = OrderedDict()
        self._ended: FIFOCache[str, None] = FIFOCache(_KEPT_IDS)
        self._bytes = 0

    def __contains__(self, media_id: object) -> bool:
        return media_id in self._files

    def has_ended(self, media_id: str) -> bool:
        """Whether there was such a file, which is gone."""
        return media_id in self._ended

    def add(self, content: bytes, mime_type: str) -> str:
        """Store a file; return its id."""
        media_id = str(10**15 + secrets.randbelow(10**15))
        description = {
            "messaging_product": "whatsapp",
            "id": media_id,
            "mime_type": mime_type,
            "sha256": hashlib.sha256(content).hexdigest(),
            "file_size": len(content),
        }
        self._files[media_id] = (description, content)
        self._bytes += len(content)
        while len(self._files) > 1 and (
            self._bytes > _KEPT_BYTES or len(self._files) > _KEPT_FILES
        ):
            self.remove(next(iter(self._files)))
        return media_id

    def get(self, media_id: str) -> tuple[dict[str, Any], bytes]:
        """The description and the bytes.

        Raises:
            UnknownObjectError: there is no such file, or no longer.
        """
        try:
            return self._files[media_id]
        except KeyError:
            raise UnknownObjectError("get", media_id) from None

    def remove(self, media_id: str) -> None:
        """Delete a file.

        Raises:
            UnknownObjectError: there is no such file, or no longer.
        """
        if media_id not in self._files:
            raise UnknownObjectError("delete", media_id)
        self._bytes -= len(self._files.pop(media_id)[1])
        self._ended[media_id] = None

    def clear(self) -> None:
        """Delete every file."""
        self._files.clear()
        self._ended.clear()
        self._bytes = 0

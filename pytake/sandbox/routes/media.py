"""Uploading, downloading and deleting media."""

from typing import Final

from fastapi import APIRouter, Response, UploadFile

from pytake.sandbox.routes.access import cloud_router
from pytake.sandbox.state import SandboxState
from pytake.sandbox.validation import GraphError

_LARGEST_FILE: Final = 100 * 1024 * 1024
"""Meta's limit for documents (business-phone-numbers/media, April 2026)."""


def media_router(state: SandboxState) -> APIRouter:
    """The endpoints of media; its description is a node."""
    router = cloud_router()

    @router.post("/{version}/{phone_number_id}/media")
    async def upload_media(
        version: str,
        phone_number_id: str,
        file: UploadFile,
    ) -> dict[str, str]:
        """Upload a file; its id can be sent as media."""
        if (file.size or 0) > _LARGEST_FILE:
            raise GraphError(100, "Invalid parameter", "the file is larger than 100 MB")
        content = await file.read()
        return {"id": state.media.add(content, file.content_type or "application/octet-stream")}

    @router.get("/media/{media_id}")
    async def download_media(media_id: str) -> Response:
        """The bytes of a file."""
        description, content = state.media.get(media_id)
        return Response(content, media_type=description["mime_type"])

    @router.delete("/{version}/{media_id}")
    async def delete_media(version: str, media_id: str) -> dict[str, bool]:
        """Delete a file."""
        state.media.remove(media_id)
        return {"success": True}

    return router

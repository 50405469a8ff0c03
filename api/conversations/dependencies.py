"""Dependencies of the auto-responder's routes."""

from typing import Annotated

from fastapi import Depends, Request

from pytake.conversations.rule_store import Books


async def get_books(request: Request) -> Books:
    """The tenants' rules, compiled for matching."""
    books: Books = request.state.books
    return books


BooksDep = Annotated[Books, Depends(get_books)]

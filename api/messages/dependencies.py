"""Dependencies of the routes of messages."""

from typing import Annotated

from fastapi import Depends, Request

from api.messages.listing import MessageLists
from api.messages.view import MessageViews
from pytake.reconciliation.messages import EndedMessages


async def get_views(request: Request) -> MessageViews:
    """Views of single messages."""
    views: MessageViews = request.state.message_views
    return views


async def get_lists(request: Request) -> MessageLists:
    """Pages of messages."""
    lists: MessageLists = request.state.message_lists
    return lists


async def get_ended(request: Request) -> EndedMessages:
    """Settles messages whose workflow was ended from outside."""
    ended: EndedMessages = request.state.ended_messages
    return ended


MessageViewsDep = Annotated[MessageViews, Depends(get_views)]
MessageListsDep = Annotated[MessageLists, Depends(get_lists)]
EndedMessagesDep = Annotated[EndedMessages, Depends(get_ended)]

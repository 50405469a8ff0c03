"""Dependencies of the routes of messages."""

from typing import Annotated

from api.dependencies import from_state
from api.messages.listing import MessageLists
from api.messages.view import MessageViews
from pytake.reconciliation.messages import EndedMessages

MessageViewsDep = Annotated[MessageViews, from_state("message_views")]
MessageListsDep = Annotated[MessageLists, from_state("message_lists")]
EndedMessagesDep = Annotated[EndedMessages, from_state("ended_messages")]
"""Settles messages whose workflow was ended from outside."""

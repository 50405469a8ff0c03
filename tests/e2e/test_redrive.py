"""Sending a failed message again by hand: at its number's rate, and once."""

from pytake.contacts.hashing import ContactHashes
from pytake.messages import store as messages
from pytake.messages.accept import Acceptor
from pytake.messages.contracts import MessageInput
from pytake.messages.options import options_of
from pytake.numbers.choice import NumberChoice
from pytake.webhooks.dispatch import Dispatcher
from tests.stack import Stack, fresh_recipient


async def test_a_redriven_message_has_the_rate_of_its_number(stack: Stack) -> None:
    number = await stack.register(rate=7)
    await stack.fault("error", code=131026, count=1)
    message_id = (await stack.send(to=fresh_recipient(), phone_number_id=number))["message_id"]
    await stack.until(message_id, "failed")
    response = await stack.api.post(f"/api/v1/queue/message/{message_id}/retry")
    assert response.status_code == 202
    await stack.until(message_id, "sent", "delivered", "read")
    history = await stack.client.get_workflow_handle(message_id).fetch_history()
    begun = history.events[0].workflow_execution_started_event_attributes.input.payloads
    (message,) = await stack.client.data_converter.decode(begun, [MessageInput])
    assert (message.generation, message.messages_per_second) == (1, 7)


async def test_two_concurrent_redrives_send_a_message_once(stack: Stack) -> None:
    """The second, in another process, comes to start its run when the first one's is over."""
    await stack.fault("error", code=131026, count=1)
    message_id = (await stack.send(to=fresh_recipient()))["message_id"]
    await stack.until(message_id, "failed")
    row = await stack.database.read(messages.get, message_id)
    hashes, choice = (
        ContactHashes(stack.database),
        NumberChoice(stack.database, stack.settings.whatsapp),
    )
    dispatcher = Dispatcher(stack.client, stack.database)
    acceptor = Acceptor(
        stack.client, stack.database, dispatcher, choice, hashes, options_of(stack.settings)
    )
    for _ in range(2):
        await acceptor.redrive(row)
        result = await stack.client.get_workflow_handle(message_id).result()
        assert result["status"] in ("accepted", "sent", "delivered", "read")
    await stack.accepted_once(message_id)

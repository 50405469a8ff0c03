"""Header values of a delivery: what HTTP cannot carry is refused, and no error quotes it."""

import asyncio

import pytest
from pydantic import ValidationError

from api.webhooks.schemas import ConfigureBody
from pytake.webhooks.guard import parse_networks
from pytake.webhooks.headers import value_problem
from pytake.webhooks.transport import DeliveryError, GuardedClient

SECRET = "s3cr3t-token-of-mine"


@pytest.mark.parametrize("value", ["", "a", "Bearer abc", "a  b", "~!"])
def test_a_header_carries_printable_ascii(value: str) -> None:
    assert value_problem(value) is None


@pytest.mark.parametrize(
    "value",
    [
        f"{SECRET} ",
        f" {SECRET}",
        f"{SECRET}\n",
        f"{SECRET}é",
        f"{SECRET}\r\nX: y",
        f"{SECRET}\0",
        f"{SECRET}\ud800",
        f"\xa0{SECRET}",
        f"{SECRET}\t",
    ],
)
async def test_an_invalid_header_value_is_refused_without_quoting_it(value: str) -> None:
    problem = value_problem(value)
    assert problem is not None
    assert SECRET not in problem
    client = GuardedClient()
    with pytest.raises(DeliveryError, match=r"^header Authorization ") as caught:
        await client.post(
            "https://x.example/", headers={"Authorization": value}, body=b"", deadline=1
        )
    assert SECRET not in str(caught.value)
    await client.aclose()
    body = {"url": "https://x.example/", "events": ["*"], "custom_headers": {"X-Key": value}}
    with pytest.raises(ValidationError) as refused:
        ConfigureBody.model_validate(body)
    assert not any(SECRET in item["msg"] for item in refused.value.errors())


async def test_errors_of_the_http_client_do_not_quote_header_values(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Were the check before it to miss something, the client's own error would quote the header."""
    monkeypatch.setattr("pytake.webhooks.transport.unsendable", lambda _: None)
    listening = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
    client = GuardedClient(parse_networks("127.0.0.0/8"))
    with pytest.raises(DeliveryError) as caught:
        await client.post(url, headers={"Authorization": f"{SECRET} "}, body=b"", deadline=5)
    assert "HTTP cannot carry" in str(caught.value)
    assert SECRET not in str(caught.value)
    await client.aclose()
    listening.close()

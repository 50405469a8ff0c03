"""What callers of the sandbox can make it keep is bounded."""

import httpx

from pytake.sandbox import media
from pytake.sandbox.media import MediaStore
from tests.stack import fresh_number, fresh_recipient


def test_the_oldest_media_go() -> None:
    store, most = MediaStore(), media._KEPT_FILES
    ids = [store.add(b"x", "text/plain") for _ in range(most + 2)]
    assert [*map(store.has_ended, ids[:3])] == [True, True, False]
    assert ids[-1] in store


async def test_large_bodies_and_many_faults_are_refused(client: httpx.AsyncClient) -> None:
    path = f"/v25.0/{fresh_number()}/messages"
    text = {"type": "text", "text": {"body": "x"}, "padding": "x" * 1024 * 1024}
    large = {"messaging_product": "whatsapp", "to": fresh_recipient(), **text}
    assert (await client.post(path, json=large)).json()["error"]["code"] == 100
    read = {"messaging_product": "whatsapp", "status": "read", "message_id": "x" * 513}
    assert (await client.post(path, json=read)).json()["error"]["code"] == 100
    assert (await client.get("/sandbox/reads")).json() == []
    fault = {"kind": "held", "to": "1"}
    codes = [(await client.post("/sandbox/faults", json=fault)).status_code for _ in range(1001)]
    assert (set(codes[:1000]), codes[1000]) == ({201}, 422)

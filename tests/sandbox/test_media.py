"""The sandbox keeps media as Meta does, and answers what it does not have with Graph errors."""

import httpx


async def test_media_is_uploaded_downloaded_and_deleted(client: httpx.AsyncClient) -> None:
    file = ("a.png", b"\x89PNG", "image/png")
    answer = await client.post("/v25.0/1/media", files={"file": file})
    media = f"/v25.0/{answer.json()['id']}"
    described = (await client.get(media)).json()
    assert (described["mime_type"], described["file_size"]) == ("image/png", 4)
    content = await client.get(described["url"])
    assert (content.content, content.headers["content-type"]) == (b"\x89PNG", "image/png")
    refused = await client.get(described["url"], headers={"Authorization": ""})
    assert refused.json()["error"]["code"] == 190
    assert (await client.delete(media)).json() == {"success": True}
    for gone in (
        await client.get(media),
        await client.get(described["url"]),
        await client.delete(media),
    ):
        error = gone.json()["error"]
        assert (gone.status_code, error["code"], error["error_subcode"]) == (400, 100, 33)


async def test_unknown_routes_answer_graph_errors(client: httpx.AsyncClient) -> None:
    error = (await client.get("/v25.0/1/nothing")).json()["error"]
    assert (error["code"], error["message"]) == (2500, "Unknown path components: /nothing")
    error = (await client.post("/v25.0/77")).json()["error"]
    assert (error["code"], error["error_subcode"]) == (100, 33)
    assert error["message"].startswith("Unsupported post request. Object with ID '77'")
    error = (await client.get("/v25.0/77/messages")).json()["error"]
    assert (error["code"], error["error_subcode"]) == (100, 33)
    error = (await client.get("/v25.0/1/template_analytics")).json()["error"]
    assert error["error_data"]["details"] == "start is missing or not valid"
    assert (await client.get("/sandbox/nothing/at/all")).json() == {"detail": "Not Found"}

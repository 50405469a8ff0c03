"""The documentation page: complete, from our own server, with examples."""

import re

import pytest

from tests.stack import EXAMPLE, Stack

pytestmark = pytest.mark.one_database


async def test_the_docs_page_loads_nothing_from_other_servers(stack: Stack) -> None:
    for client, path in ((stack.api, "/docs"), (stack.sandbox, "/sandbox/docs")):
        page = (await client.get(path)).text
        links = re.findall(r'(?:src|href)="([^"]+)"', page)
        assert len(links) >= 3
        for link in links:
            assert link.startswith(str(client.base_url)), link
            assert (await client.get(link)).status_code == 200, link


async def test_openapi_has_the_example_and_documents_errors(stack: Stack) -> None:
    openapi = (await stack.api.get("/openapi.json")).json()
    assert EXAMPLE in openapi["components"]["schemas"]["SendBody"]["examples"]
    send = openapi["paths"]["/api/v1/queue/send"]["post"]
    assert {"202", "401", "403", "413", "422", "503"} <= set(send["responses"])
    assert "application/problem+json" in send["responses"]["422"]["content"]

"""Runs the README's snippets that verify events."""

import json
import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pytake.webhooks.signing import new_secret, signature_headers, signing_key

README = Path(__file__).parents[1] / "README.md"
BODY = '{"data":{"text":"ção 🎉"}}'

PYTHON = """
import json, sys
print(json.dumps([verify(c["secret"], c["headers"], c["body"].encode()) for c in json.load(sys.stdin)]))
"""
NODE = """
import { readFileSync } from "node:fs";
const cases = JSON.parse(readFileSync(0, "utf8"));
console.log(JSON.stringify(cases.map((c) => verify(c.secret, c.headers, Buffer.from(c.body)))));
"""


def snippet(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)
    assert isinstance(found, str)
    return found


def signed(*secrets: str, age: float = 0, body: str = BODY) -> dict[str, str]:
    headers = signature_headers(
        event_id="evt_1",
        event_type="a.b",
        tenant_id="t",
        at=datetime.now(UTC) - timedelta(seconds=age),
        body=body,
        keys=[signing_key(secret) for secret in secrets],
    )
    return {name.lower(): value for name, value in headers.items()}


def cases() -> tuple[list[dict[str, Any]], list[bool]]:
    ours, plain, other = new_secret(), "seu-secret-seguro", "ação-secreta"
    forged = {**signed(plain), "webhook-id": "evt_2"}
    rows: list[tuple[str, dict[str, str], str, bool]] = [
        (ours, signed(ours), BODY, True),
        (plain, signed(plain), BODY, True),
        (other, signed(other), BODY, True),
        (plain, signed(ours, plain), BODY, True),  # while the secret is rotated
        (ours, signed(ours, plain), BODY, True),
        (ours, signed(plain), BODY, False),
        (plain, signed(ours), BODY, False),
        (plain, signed(plain), BODY + " ", False),
        (plain, forged, BODY, False),
        (plain, signed(plain, age=301), BODY, False),
        (plain, signed(plain, age=-310), BODY, False),
        (plain, {**signed(plain), "webhook-signature": "v1,ação="}, BODY, False),
        (plain, {**signed(plain), "webhook-signature": ""}, BODY, False),
        (plain, {}, BODY, False),
        (plain, {**signed(plain), "webhook-timestamp": "soon"}, BODY, False),
    ]
    asked = [{"secret": row[0], "headers": row[1], "body": row[2]} for row in rows]
    return asked, [row[3] for row in rows]


def answers(command: list[str]) -> tuple[list[bool], list[bool]]:
    asked, expected = cases()
    done = subprocess.run(
        command, input=json.dumps(asked), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), expected


def test_the_python_snippet_accepts_only_genuine_events() -> None:
    found, expected = answers([sys.executable, "-c", snippet("python") + PYTHON])
    assert found == expected


def test_the_node_snippet_accepts_only_genuine_events() -> None:
    node = shutil.which("node")
    if node is None:
        # `make test` asks for nothing but Python and make, and Node is 190 MB; `.ci/run` requires it.
        # Another engine would not do: the snippet imports node:crypto.
        assert os.environ.get("PYTAKE_TEST_NODE") != "required", "CI has no node to test with"
        pytest.skip("`node` is not installed: the README's snippet for Node was not tried")
    found, expected = answers([node, "--input-type=module", "-e", snippet("js") + NODE])
    assert found == expected

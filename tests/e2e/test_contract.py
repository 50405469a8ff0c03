"""The running API against its OpenAPI document and its promises."""

import asyncio
import random
import subprocess
import sys
from pathlib import Path

from pytake.access import keys
from pytake.clock import now
from tests.chaos.faults import SHORT
from tests.chaos.run import run
from tests.postgres import postgres
from tests.stack import Stack, make_settings, running_stack


async def test_every_response_is_documented_and_none_is_a_server_error(
    own_temporal_address: str, tmp_path: Path
) -> None:
    settings = make_settings(
        tmp_path, PYTAKE_AUTO_RESPONDER=True, PYTAKE_KEYLESS=True, PYTAKE_REQUESTS_PER_SECOND=0
    )
    async with running_stack(settings, own_temporal_address) as stack:
        await _tested(stack, tmp_path, "examples,coverage,fuzzing")
        _, key = await stack.database.write(
            keys.create, tenant_id="strangers", admin=False, name="", now=now()
        )
        await _tested(stack, tmp_path, "examples,fuzzing", "-H", f"Authorization: Bearer {key}")


async def _tested(stack: Stack, cwd: Path, phases: str, *options: str) -> None:
    tested = await asyncio.to_thread(
        subprocess.run,
        [
            str(Path(sys.executable).with_name("st")),
            "run",
            f"{stack.api.base_url}/openapi.json",
            "--checks",
            "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
            "--phases",
            phases,
            "--max-examples",
            "3",
            "--no-color",
            "--seed",
            "1",
            *options,
        ],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert "API Operations" in tested.stdout
    assert tested.returncode == 0, tested.stdout[-6000:]


async def test_promises_are_kept_under_a_few_faults(tmp_path: Path) -> None:
    report = await run(tmp_path, random.Random(7), list(SHORT))  # noqa: S311 - to be repeated
    assert report.accepted > 50
    assert report.broken == [], report.text()


async def test_promises_are_kept_when_postgresql_goes_and_comes_back(tmp_path: Path) -> None:
    with postgres() as server:
        report = await run(
            tmp_path,
            random.Random(7),  # noqa: S311 - to be repeated
            ["PostgreSQL stopped and started"],
            postgres=server,
        )
    assert report.accepted > 15
    assert report.broken == [], report.text()

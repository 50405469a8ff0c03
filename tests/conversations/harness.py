"""Runs conversation scripts against the whole stack, with the clock of everything skipped ahead.

A script is lines: ``> text`` the contact writes (``> [reply:id] title``, ``> [image] caption``,
``> [reaction]``, ``> [old:2h] text``; lines without a blank line between them come as one burst),
``< text`` the bot answers, ``-`` it does not, ``~ 2h`` time passes, ``@ tue 22:00`` until then,
``! handover``, ``! resume``, ``! reset``, ``! echo`` (a person answers from the phone).
"""

import json
import os
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import time_machine
import uvicorn
import yaml
from sqlmodel import Session, select
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment

import worker
from api.app import create_app
from pytake.clock import now
from pytake.conversations import rule_store as rules
from pytake.conversations.rules.hours import BusinessHours
from pytake.conversations.tables import AutoReply, InboundMessage
from pytake.database.engine import Database
from pytake.sandbox.server import build_server
from pytake.temporal import attributes
from pytake.temporal import client as temporal
from pytake.temporal.embedded import binary
from tests.callback.posting import envelope, post
from tests.stack import Stack, eventually, fresh_recipient, http, make_settings, serving

SCRIPTS = Path(__file__).with_name("scripts.yaml")
_ZONE = ZoneInfo("America/Sao_Paulo")
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def load_scripts() -> dict[str, dict[str, Any]]:
    return {script["name"]: script for script in yaml.safe_load(SCRIPTS.read_text("utf-8"))}


@dataclass
class Theatre:
    """The stack on a server whose time can be skipped."""

    stack: Stack
    environment: WorkflowEnvironment
    traveller: Any
    _shift: timedelta = field(default=timedelta(0))

    async def pass_time(self, duration: timedelta) -> None:
        """Everybody's clock moves: ours first, then the server's with all timers on the way."""
        self.traveller.shift(duration)
        await self.environment.sleep(duration)

    async def perform(self, script: dict[str, Any]) -> None:
        await Performance(self, script).run()


@asynccontextmanager
async def theatre(directory: Path, database_url: str) -> AsyncIterator[Theatre]:
    settings = make_settings(
        directory,
        database_url,
        PYTAKE_KEYLESS=True,
        PYTAKE_AUTO_RESPONDER=True,
        PYTAKE_REPLY_DEBOUNCE_SECONDS=0.15,
        PYTAKE_LOOP_EXCHANGES=5,
        PYTAKE_LOOP_SECONDS=60,
        PYTAKE_LOOP_PAUSE_SECONDS=3600,
    )
    async with AsyncExitStack() as stack:
        environment = await stack.enter_async_context(
            await WorkflowEnvironment.start_time_skipping(
                test_server_existing_path=binary("temporal-test-server"),
                data_converter=pydantic_data_converter,
            )
        )
        # Left after everything that runs by it: a clock that goes back would keep it waiting.
        traveller = stack.enter_context(
            time_machine.travel(await environment.get_current_time(), tick=True)
        )
        names = [key.name for key in attributes.SEARCH_ATTRIBUTES]
        await temporal.add_search_attributes(environment.client, names)
        address = environment.client.service_client.config.target_host
        os.environ["TEMPORAL_ADDRESS"] = address
        database = Database(settings.storage.sqlalchemy_url)
        stack.callback(database.close)
        database.migrate()
        # A client of its own: the environment's would skip time whenever it waits for a result.
        client = await temporal.connect(target=address)
        api = uvicorn.Server(
            uvicorn.Config(
                create_app(settings),
                host="127.0.0.1",
                port=settings.api.port,
                log_config=None,
                access_log=False,
            )
        )
        await stack.enter_async_context(serving(build_server(settings, seed=1)))
        await stack.enter_async_context(serving(api))
        await stack.enter_async_context(worker.serving(settings, client, database))
        api_client = await stack.enter_async_context(http(f"http://127.0.0.1:{settings.api.port}"))
        sandbox = await stack.enter_async_context(http(f"http://127.0.0.1:{settings.sandbox.port}"))
        running = Stack(settings, client, database, api_client, sandbox)
        yield Theatre(running, environment, traveller)


class Performance:
    """One script, with a tenant, a number and a contact of its own."""

    def __init__(self, theatre: Theatre, script: dict[str, Any]) -> None:
        self.theatre = theatre
        self.stack = theatre.stack
        self.script = script
        self.tenant = f"conv-{secrets.token_hex(6)}"
        self.contact = fresh_recipient()
        self.number = ""
        self.seen = 0

    async def run(self) -> None:
        await self._set_up()
        for block in re.split(r"\n\s*\n", self.script["script"].strip()):
            await self._block([line.strip() for line in block.splitlines()])
        assert await self._spoken() == [], "answers that nobody expected"

    async def _set_up(self) -> None:
        await self._until(self.script.get("start", "mon 10:00"))
        self.number = await self.stack.register(tenant=self.tenant)
        await self.stack.database.write(
            rules.install, self.tenant, now(), defaults=self.script.get("defaults", False)
        )
        for rule in self.script.get("rules", []):
            body = {"name": rule.get("id", "rule"), "tenant_id": self.tenant, **rule}
            await self._post("rules", body, 201)
        if hours := self.script.get("hours"):
            hours = json.loads(json.dumps(hours).replace("{year}", f"{now():%Y}"))
            response = await self.stack.api.put(
                "/api/v1/auto-responder/business-hours",
                json=hours,
                params={"tenant_id": self.tenant},
            )
            assert response.status_code == 200, response.text

    async def _block(self, lines: list[str]) -> None:
        wamids: list[str] = []
        expected: list[str] = []
        for line in lines:
            sign, _, rest = line.partition(" ")
            if sign == ">":
                wamids.append(await self._say(rest))
            elif sign in ("<", "-"):
                await self._heard(wamids)
                if sign == "<":
                    expected.append(rest)
            elif sign == "~":
                amount, unit = float(rest[:-1]), rest[-1]
                await self.theatre.pass_time(timedelta(seconds=amount * _UNITS[unit]))
            elif sign == "@":
                await self._until(rest)
            elif sign == "!":
                await self._act(rest)
            elif sign != "#":
                raise ValueError(f"not a line of a script: {line!r}")
        if wamids:
            await self._heard(wamids)
        if expected:
            await self._expect(expected)
        else:
            answered = await self.stack.database.read(self._answered, wamids)
            assert answered == [], f"an answer to {lines}"
            assert await self._spoken() == []

    async def _say(self, text: str) -> str:
        message = _message(text)
        body: dict[str, Any] = {
            "from": self.contact,
            "name": "Ana Souza",
            "phone_number_id": self.number,
            "message": message,
        }
        response = await self.stack.sandbox.post("/sandbox/inbound", json=body)
        assert response.status_code == 202, response.text
        wamid: str = response.json()["wamid"]
        return wamid

    async def _heard(self, wamids: list[str]) -> None:
        """Wait until every message is decided about, or is known to get no answer."""

        def settled(session: Session) -> bool:
            rows = [session.get(InboundMessage, wamid) for wamid in wamids]
            return all(
                row is not None
                and (row.handled_by or (row.signalled_at and row.type in ("reaction", "system")))
                for row in rows
            )

        async def check() -> bool:
            return await self.stack.database.read(settled)

        await eventually(check, 15, lambda: f"not decided about: {wamids}")

    def _answered(self, session: Session, wamids: list[str]) -> list[str | None]:
        """Rules that answered any of the messages at once (not after a delay)."""
        rows = [session.get(InboundMessage, wamid) for wamid in wamids]
        replies = [session.get(AutoReply, row.handled_by) for row in rows if row and row.handled_by]
        return [r.rule_id for r in replies if r and r.status == "answered" and not r.delay_seconds]

    async def _spoken(self) -> list[str]:
        mine = await self.stack.accepted(phone_number_id=self.number, to=self.contact)
        return [_text_of(m["payload"]) for m in mine[self.seen :]]

    async def _expect(self, expected: list[str]) -> None:
        spoken: list[str] = []

        async def check() -> bool:
            spoken[:] = await self._spoken()
            return len(spoken) >= len(expected)

        try:
            await eventually(check, 15)
        except AssertionError:
            why = await self.stack.database.read(self._why)
            raise AssertionError(f"expected {expected}, got {spoken}; decisions: {why}") from None
        assert spoken == expected
        self.seen += len(spoken)

    def _why(self, session: Session) -> list[Any]:
        rows = session.exec(select(AutoReply).where(AutoReply.tenant_id == self.tenant))
        return [(row.status, row.rule_id, row.reason) for row in rows]

    async def _act(self, what: str) -> None:
        if what == "echo":
            await self._echo()
            return
        action, _, body = what.partition(" ")
        path = f"contacts/{self.contact}/{action}"
        params = {"tenant_id": self.tenant, "phone_number_id": self.number}
        response = await self.stack.api.post(
            f"/api/v1/auto-responder/{path}", params=params, json=json.loads(body) if body else None
        )
        assert response.status_code == 200, response.text

    async def _echo(self) -> None:
        """A person answers from the WhatsApp Business app."""
        echo = {
            "from": "5561333300000",
            "to": self.contact,
            "id": f"wamid.{secrets.token_hex(8)}",
            "timestamp": str(int(now().timestamp())),
            "type": "text",
            "text": {"body": "Oi, sou a Bia"},
        }
        value = {
            "messaging_product": "whatsapp",
            "metadata": {"display_phone_number": "1", "phone_number_id": self.number},
            "message_echoes": [echo],
        }
        response = await post(self.stack, envelope(value, field="smb_message_echoes"))
        assert response.status_code == 200, response.text

    async def _post(self, path: str, body: dict[str, Any], status: int) -> None:
        response = await self.stack.api.post(f"/api/v1/auto-responder/{path}", json=body)
        assert response.status_code == status, response.text

    async def _until(self, when: str) -> None:
        """``mon 10:00``: the next Monday that is no holiday; ``12-25 10:00``: the next such day."""
        day, clock = when.split()
        local = now().astimezone(_ZONE)
        target = local.replace(hour=int(clock[:2]), minute=int(clock[3:]), second=0, microsecond=0)
        while not (target > local and _is(target, day)):
            target += timedelta(days=1)
        await self.theatre.pass_time(target - local)


def _is(moment: datetime, day: str) -> bool:
    if day in _DAYS:
        return moment.weekday() == _DAYS.index(day) and not any(
            BusinessHours().holiday(moment.date() + timedelta(days=d)) for d in (-3, -2, -1, 0, 1)
        )
    return f"{moment:%m-%d}" == day


def _message(text: str) -> dict[str, Any]:
    match = re.match(r"\[([a-z]+)(?::([^\]]+))?\]\s*(.*)", text)
    if match is None:
        return {"type": "text", "text": {"body": text}, **_stamp(0)}
    kind, argument, rest = match.groups()
    if kind == "reply":
        reply = {"type": "button_reply", "button_reply": {"id": argument, "title": rest}}
        return {"type": "interactive", "interactive": reply, **_stamp(0)}
    if kind == "list":
        reply = {"type": "list_reply", "list_reply": {"id": argument, "title": rest}}
        return {"type": "interactive", "interactive": reply, **_stamp(0)}
    if kind == "quick":
        return {"type": "button", "button": {"payload": argument, "text": rest}, **_stamp(0)}
    if kind == "old":
        age = float(argument[:-1]) * _UNITS[argument[-1]]
        return {"type": "text", "text": {"body": rest}, **_stamp(age)}
    if kind == "reaction":
        return {"type": kind, kind: {"message_id": "wamid.x", "emoji": "👍"}, **_stamp(0)}
    if kind == "system":
        return {"type": kind, kind: {"body": "User changed number"}, **_stamp(0)}
    return {"type": kind, kind: {"id": "1", "caption": rest}, **_stamp(0)}


def _stamp(age: float) -> dict[str, str]:
    return {"timestamp": str(int(now().timestamp() - age))}


def _text_of(payload: dict[str, Any]) -> str:
    """What the contact sees: the text, and what can be tapped."""
    kind = payload["type"]
    part = payload[kind]
    if kind == "text":
        return str(part["body"])
    if kind == "template":
        return f"[template {part['name']}]"
    if kind != "interactive":
        return f"[{kind}] {part.get('caption', '')}".strip()
    action = part["action"]
    titles = [b["reply"]["title"] for b in action.get("buttons", [])]
    titles += [row["title"] for s in action.get("sections", []) for row in s["rows"]]
    return f"{part['body']['text']} [{' | '.join(titles)}]"

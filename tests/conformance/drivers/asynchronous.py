"""Drives an asynchronous client of the SDK; see sync.py, of which it is the counterpart."""

# mypy: ignore-errors
from __future__ import annotations

import asyncio
import json
import sys

import muxi
from muxi.errors import MuxiError


async def main() -> None:
    setup = json.loads(sys.argv[1])
    async with getattr(muxi, setup["client"])(**setup["config"]) as client:
        while line := await asyncio.to_thread(sys.stdin.readline):
            await answer(client, json.loads(line))


async def answer(client: object, call: dict) -> None:
    try:
        value = await getattr(client, call["method"])(*call["args"], **call["kwargs"])
        if call["take"] is None:
            say(value=value)
        else:
            await tell_events(value, call["take"])
    except MuxiError as error:
        say(error=describe(error))


async def tell_events(events: object, take: int) -> None:
    number = 0
    async for event in events:
        say(event=event)
        number += 1
        if number == take:
            break
    await events.aclose()
    say(value=None)


def describe(error: MuxiError) -> dict:
    return {
        "type": type(error).__name__,
        "code": error.code,
        "message": error.message,
        "status_code": error.status_code,
        "details": error.details,
    }


def say(**answer: object) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(main())

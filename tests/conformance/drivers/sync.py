"""Drives a synchronous client of the SDK: calls come as JSON lines on stdin, answers go to stdout.

Run by the SDK's own interpreter, where `muxi` is the SDK. The one argument is a JSON object:
`client`, the name of the class, and `config`, its keyword arguments.
"""

# mypy: ignore-errors
from __future__ import annotations

import json
import sys

import muxi
from muxi.errors import MuxiError


def main() -> None:
    setup = json.loads(sys.argv[1])
    with getattr(muxi, setup["client"])(**setup["config"]) as client:
        for line in sys.stdin:
            answer(client, json.loads(line))


def answer(client: object, call: dict) -> None:
    try:
        value = getattr(client, call["method"])(*call["args"], **call["kwargs"])
        if call["take"] is None:
            say(value=value)
        else:
            tell_events(value, call["take"])
    except MuxiError as error:
        say(error=describe(error))


def tell_events(events: object, take: int) -> None:
    """Tell each event as it comes: `take` of them, or all for 0."""
    for number, event in enumerate(events, 1):
        say(event=event)
        if number == take:
            break
    events.close()
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
    main()

"""A formation that answers at once, and streams for some seconds: `GET /`, `GET /stream`.

A stream ends with the event `end`; one without was cut.
"""

import asyncio
import os
import signal

SECONDS = 4.0
PERIOD = 0.25
SMALL = b'{"release": "%b"}' % os.environ["RELEASE"].encode()
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
    len(SMALL),
    SMALL,
)
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            if head.startswith(b"GET /stream "):
                await stream(writer)
                break
            writer.write(ANSWER)
            await writer.drain()
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def stream(writer: asyncio.StreamWriter) -> None:
    writer.write(STREAM)
    for _ in range(int(SECONDS / PERIOD)):
        writer.write(b"data: event\n\n")
        await writer.drain()
        await asyncio.sleep(PERIOD)
    writer.write(b"data: end\n\n")
    await writer.drain()


async def main() -> None:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await asyncio.start_server(serve, os.environ["HOST"], int(os.environ["PORT"]), backlog=1024)
    await ended.wait()


asyncio.run(main())

from __future__ import annotations

import json
import logging
from functools import partial
from typing import TYPE_CHECKING

import hypercorn.trio
import pytest
import trio
from hypercorn.config import Config
from hypothesis import given
from hypothesis import strategies as st

from muxi.api import uploads as uploads_module
from muxi.api.body import HIGH_WATER, BoundedBody, Pieces, read_all
from muxi.errors import RequestError, TooLarge
from tests.api.harness import GZIP, Api, make_api, make_scope

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from muxi.formation.upload import Upload

CHUNK = 65536
NAMED = GZIP | {"X-Formation-ID": "new-bot"}


@given(st.lists(st.binary(max_size=50)))
def test_what_goes_in_comes_out(chunks: list[bytes]) -> None:
    async def pump(body: BoundedBody) -> None:
        for chunk in chunks:
            await body.feed(chunk)
        body.set_complete()

    async def main() -> bytes:
        body = BoundedBody()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pump, body)
            return b"".join([piece async for piece in body])

    assert trio.run(main) == b"".join(chunks)


async def test_the_pump_waits_while_the_reader_is_behind() -> None:
    body = BoundedBody()
    fed = 0

    async def pump() -> None:
        nonlocal fed
        for _ in range(100):
            await body.feed(b"x" * CHUNK)
            fed += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(pump)
        await trio.testing.wait_all_tasks_blocked()
        assert fed * CHUNK == body.buffered == HIGH_WATER
        assert len(await anext(body)) == HIGH_WATER
        await trio.testing.wait_all_tasks_blocked()
        assert fed * CHUNK == 2 * HIGH_WATER
        nursery.cancel_scope.cancel()


async def test_a_body_that_is_not_wanted_is_thrown_away() -> None:
    body = BoundedBody()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(body.discard_rest)
        for _ in range(100):
            await body.feed(b"x" * CHUNK)
        assert body.buffered == 0
        body.set_complete()


async def test_the_whole_body_at_once_is_refused() -> None:
    with pytest.raises(TypeError):
        await BoundedBody()


async def test_a_pause_is_limited_and_the_whole_is_not(autojump_clock: trio.testing.MockClock) -> None:
    body = BoundedBody()

    async def slowly() -> None:
        for _ in range(100):
            await trio.sleep(59)
            await body.feed(b"x")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(slowly)
        pieces = Pieces(body, 60.0)
        assert [await anext(pieces) for _ in range(100)] == [b"x"] * 100
        with pytest.raises(RequestError, match="for 60 seconds") as caught:
            await anext(pieces)
    assert caught.value.status == 408


async def test_reading_all_is_limited() -> None:
    body = BoundedBody()
    await body.feed(b"x" * 11)
    with pytest.raises(TooLarge):
        await read_all(body, 10, 60.0)


async def test_an_upload_is_held_back_by_a_slow_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client sends 64 MB as fast as it can; whoever takes it in takes nothing for now."""
    api = make_api(tmp_path, max_upload_size=1 << 30)
    room = trio.Event()
    received = 0

    async def slow_receive(chunks: AsyncIterator[bytes], directory: Path, max_size: int) -> Upload:
        nonlocal received
        await room.wait()
        async for chunk in chunks:
            received += len(chunk)
        raise RequestError("that is all")

    monkeypatch.setattr(uploads_module, "receive", slow_receive)
    sent = 0
    headers = NAMED | {"Authorization": api.signature("POST", "/rpc/formations")}
    async with api.exchange(make_scope("POST", "/rpc/formations", headers)) as exchange:

        async def upload() -> None:
            nonlocal sent
            for _ in range(1024):
                await exchange.send(b"x" * CHUNK)
                sent += CHUNK
            await exchange.send(b"", last=True)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(upload)
            await trio.testing.wait_all_tasks_blocked()
            assert sent <= HIGH_WATER + CHUNK  # the rest is still the client's
            room.set()
            await exchange.ended.wait()
    assert received == sent == 1024 * CHUNK
    assert exchange.status == 400


async def test_over_real_sockets_an_upload_is_streamed_and_an_early_refusal_is_readable(
    tmp_path: Path,
) -> None:
    api = make_api(tmp_path, max_upload_size=1 << 30)
    api.fleet.results["deploy"] = {"port": 1}
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.errorlog = logging.getLogger("hypercorn.error")
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            urls = await nursery.start(partial(hypercorn.trio.serve, api.app, config))
            port = int(urls[0].rsplit(":", 1)[1])
            assert (await _upload(port, api, signed=True))[0] == 201
            assert len(api.fleet.uploads[0][0]) == 200 * CHUNK
            status, answer = await _upload(port, api, signed=False)
            assert status == 401
            assert answer["message"] == "Missing authorization header"
            nursery.cancel_scope.cancel()


async def _upload(port: int, api: Api, *, signed: bool) -> tuple[int, dict[str, object]]:
    headers = {**NAMED, "Host": "localhost", "Connection": "close", "Transfer-Encoding": "chunked"}
    if signed:
        headers["Authorization"] = api.signature("POST", "/rpc/formations")
    head = "POST /rpc/formations HTTP/1.1\r\n" + "".join(
        f"{name}: {value}\r\n" for name, value in headers.items()
    )
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        await stream.send_all(head.encode() + b"\r\n")
        for _ in range(200):
            await stream.send_all(b"%x\r\n" % CHUNK + b"x" * CHUNK + b"\r\n")
        await stream.send_all(b"0\r\n\r\n")
        data = b"".join([chunk async for chunk in stream])
    top, _, body = data.partition(b"\r\n\r\n")
    return int(top.split()[1]), json.loads(body)

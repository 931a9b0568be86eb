"""Requests that are sent again because their answer was lost: the second gets what the first one got.

Clients mark them with an idempotency key (`X-Muxi-Idempotency-Key`, or `Idempotency-Key` as in
draft-ietf-httpapi-idempotency-key-header). What counts is the operation that a request begins:
while it runs, a repeated one watches it too; when it has ended, a receipt says how, for a day and
over restarts. What commits a release, and what writes down a stop, a start or a delete, has the receipt
in that one step. Of a request that changes something without an operation (a draft's file, a cancel)
the answer is kept. A request that changed nothing, and one that failed by the server's fault and was
undone (5xx), leaves none: it may be sent again.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, cast

import trio
from quart import request

from muxi.api.answers import json_response
from muxi.api.body import Pieces
from muxi.api.exchange import current
from muxi.api.watching import answer
from muxi.errors import MuxiError, NotFound, RequestError, StorageError, TooLarge, Unprocessable
from muxi.formation.operation import Operation
from muxi.registry.receipts import Claim, Receipt, receipt_name

if TYPE_CHECKING:
    from quart import Response

    from muxi.api.body import BoundedBody
    from muxi.api.parts import ApiParts
    from muxi.api.routing import Handler
    from muxi.registry.receipts import Receipts

HEADERS = ("X-Muxi-Idempotency-Key", "Idempotency-Key")
ASKED_BY = ("X-Formation-ID", "X-Formation-Version", "X-Muxi-Force", "X-Muxi-Strategy")
"""Headers that are a part of what is asked for."""
KEEP_SECONDS = 5.0
"""How long an answer waits until its receipt is on disk."""
_SANE_KEY = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(eq=False, slots=True)
class _First:
    """The first request with a key: taken in, then an operation that runs."""

    operation: Operation | None = None
    settled: trio.Event = field(default_factory=trio.Event)
    """Set once it has begun its operation, or has ended without."""


class Repeats:
    """Knows the keyed requests under way, and the receipts of those that have ended."""

    def __init__(self, parts: ApiParts, receipts: Receipts) -> None:
        self._parts = parts
        self._receipts = receipts
        self._under_way: dict[str, _First] = {}

    def wrap(self, handler: Handler) -> Handler:
        """Return a handler that gives repeated requests the first one's result."""

        async def once(**arguments: str) -> Response:
            key = _key()
            if key is None:
                return await handler(**arguments)
            return await self._handle(receipt_name(current().key_id, key), handler, arguments)

        return once

    async def _handle(self, name: str, handler: Handler, arguments: dict[str, str]) -> Response:
        while (first := self._under_way.get(name)) is not None and first.operation is None:
            # Its upload is under way. If that breaks off, this one takes its place.
            await first.settled.wait()
        operation = None if first is None else first.operation
        receipt = self._receipts.find(name, self._parts.now())
        if operation is None and receipt is not None:
            if receipt.answer is not None:
                await self._compare(receipt.asked)
                return _replayed(json_response(receipt.answer, receipt.status))
            operation = self._gone_on_with(receipt) if receipt.begun else _ended_operation(receipt)
        if operation is not None:
            return await self._again(operation)
        return await self._for_the_first_time(name, handler, arguments)

    async def _for_the_first_time(self, name: str, handler: Handler, arguments: dict[str, str]) -> Response:
        first = self._under_way[name] = _First()
        body = cast("BoundedBody", request.body)
        body.digest = hashlib.sha256()
        current().began = partial(self._began, name, first, body)
        try:
            response = await handler(**arguments)
            if first.operation is None and current().kept and response.status_code < 300:
                await self._keep_answer(name, _asked(body.digest.hexdigest()), response)
            return response
        finally:
            if first.operation is None:
                del self._under_way[name]
                first.settled.set()
            elif first.operation.ended:
                await self._on_disk()

    def _began(self, name: str, first: _First, body: BoundedBody, operation: Operation, status: int) -> None:
        assert body.digest is not None
        first.operation = operation
        operation.claim = Claim(name, _asked(body.digest.hexdigest()), status)
        first.settled.set()
        if operation.ended:
            self._ended(operation)
        else:
            operation.at_end.append(self._ended)

    def _ended(self, operation: Operation) -> None:
        receipt = operation.receipt(self._parts.now())
        assert receipt is not None
        self._under_way.pop(receipt.name, None)
        if operation.error is None or operation.error.status < 500:
            self._receipts.add(receipt)

    async def _keep_answer(self, name: str, asked: str, response: Response) -> None:
        exchange = current()
        receipt = Receipt(
            name=name,
            asked=asked,
            kind="answer",
            formation_id=exchange.formation or "",
            operation_id="",
            at=self._parts.now(),
            status=response.status_code,
            answer=await response.get_json(),
        )
        self._receipts.add(receipt, lasting=exchange.kept == "lastingly")
        await self._on_disk()

    def _gone_on_with(self, receipt: Receipt) -> Operation | None:
        """Return how what a killed server had begun was gone on with: the formation was brought back."""
        try:
            operation = self._parts.fleet.operation(receipt.formation_id)
        except NotFound:
            return None
        if operation.kind != "restore":  # somebody has asked for something else since
            return None
        operation.claim = Claim(receipt.name, receipt.asked, receipt.status)
        if operation.ended:
            self._ended(operation)
        else:
            operation.at_end.append(self._ended)
        return operation

    async def _on_disk(self) -> None:
        """Have the receipt on disk before the client is told, if the disk can do it soon."""
        with trio.move_on_after(KEEP_SECONDS):
            try:
                await self._receipts.flush()
            except StorageError:
                return  # logged where it is written, and tried again there

    async def _compare(self, asked: str) -> None:
        """Raise Unprocessable unless this request asks for the same as the first one."""
        settings = self._parts.settings
        digest, size = hashlib.sha256(), 0
        async for piece in Pieces(aiter(request.body), settings.body_chunk_timeout):
            digest.update(piece)
            size += len(piece)
            if size > max(settings.max_upload_size, settings.max_json_size):
                raise TooLarge("The body is larger than any that this server takes.")
        # What takes no body has not read the first one's.
        if asked not in {_asked(digest.hexdigest()), _asked(hashlib.sha256().hexdigest())}:
            raise Unprocessable(
                "This idempotency key was used for another request.",
                code="IdempotencyKeyReused",
                cure="Make a new key for each request; keep it only to send the very same one again.",
            )

    async def _again(self, operation: Operation) -> Response:
        claim = operation.claim
        assert claim is not None
        await self._compare(claim.asked)
        return _replayed(
            await answer(operation, self._parts.settings.keepalive_interval, status=claim.status)
        )


def _replayed(response: Response) -> Response:
    response.headers["Idempotency-Replayed"] = "true"
    return response


def _key() -> str | None:
    for header in HEADERS:
        text = request.headers.get(header)
        if text is not None:
            # The draft has it as a structured field: a string in quotes.
            key = text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text
            if not _SANE_KEY.fullmatch(key):
                raise RequestError(
                    f"{header} is not a key: 1 to 255 visible characters.",
                    code="InvalidIdempotencyKey",
                    cure="Use a random one, such as a UUID.",
                )
            return key
    return None


def _asked(body: str) -> str:
    """Return the hash of all that makes two requests the same."""
    query = request.query_string.decode("latin-1")
    parts = [request.method, request.path, query, *(request.headers.get(name, "") for name in ASKED_BY), body]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _ended_operation(receipt: Receipt) -> Operation:
    operation = Operation(receipt.kind, receipt.formation_id, id=receipt.operation_id)  # type: ignore[arg-type]
    operation.claim = Claim(receipt.name, receipt.asked, receipt.status)
    problem = receipt.problem
    if problem is None:
        operation.succeed(receipt.result or {})
    else:
        operation.fail(
            MuxiError(
                problem.message,
                code=problem.code,
                status=problem.status,
                stage=problem.stage,
                cure=problem.cure,
                details=problem.details,
            )
        )
    return operation

"""Letting another program take this one's place in the same process, so that nobody is refused.

    check ─ settle ─ close ─ let go ─ exec

The new program is asked first whether it could start; until then, and while requests under way
are given time to end, everything is served as ever, new requests too. Only then no connection is
accepted any more: those that come wait in the sockets' backlog for the new program, for about as
long as it takes to start. Formations are let go, not ended: they stay this process's children.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Final

import msgspec
import structlog
import trio

from muxi.errors import MuxiError, OperatorError
from muxi.server.check import check_program
from muxi.server.inheritance import HANDOVER, Handover
from muxi.server.shutdown import save

if TYPE_CHECKING:
    from muxi.server.composition import Server
    from muxi.server.program import Program
    from muxi.server.signals import SignalBox

log = structlog.get_logger()

AGE_SECONDS: Final = 1.0
"""A request older than this is one that is worth waiting for."""
ARRIVAL_SECONDS: Final = 0.25
"""How long what has been accepted last may take to send its request."""
CLOSE_SECONDS: Final = 2.0
"""How long requests may end once no more connections are accepted."""
ORDERS_SECONDS: Final = 2.0
"""How long a deploy or the like may still go on then; who asked for it has been cut off by the close."""
LET_GO_SECONDS: Final = 15.0
SAVE_SECONDS: Final = 5.0


async def prepare(server: Server, program: Program) -> None:
    """See that the upgrade can be done. Raises OperatorError; nothing has been given up then."""
    if program.obstacle:
        raise OperatorError(f"The program can't be replaced: {program.obstacle}.", cure="Restart the server.")
    log.info("upgrade: the new program is asked", program=program.path)
    answer = await check_program(program)
    try:
        with trio.fail_after(SAVE_SECONDS):
            await save(server)
    except trio.TooSlowError as error:
        raise OperatorError("The registry can't be saved: the disk is too slow.") from error
    log.info("upgrade: the new program can take over", answer=answer)


async def settle(server: Server, budget: float) -> bool:
    """Serve on until nothing under way is older than a second; False when the budget is spent first.

    Each connection ends with its next answer meanwhile, so that busy clients leave by themselves.
    """
    listener = server.listener
    with trio.move_on_after(budget):
        listener.retire()
        before = listener.busy()
        while True:
            await trio.sleep(AGE_SECONDS)
            listener.retire()
            now = listener.busy()
            if not now & before and not any(route.traffic.holding for route in server.routes.live.values()):
                return True
            before = now
    return False


async def close(server: Server) -> None:
    """Stop accepting, and end what is still under way, streams and tunnels as at a shutdown."""
    cut = await server.listener.drain(CLOSE_SECONDS, settle=ARRIVAL_SECONDS)
    if cut:
        log.warning("connections cut", count=cut)


async def let_go(server: Server) -> None:
    """Let formations go, and write down by what the new program knows them.

    Those that can't be are ended in good order; the new program starts them again.
    """
    try:
        with trio.fail_after(LET_GO_SECONDS):
            await server.detach(ORDERS_SECONDS)
    except (MuxiError, trio.TooSlowError) as error:
        log.error("formations can't be let go, and are ended", error=str(error) or "it takes too long")
        with trio.move_on_after(server.config.server.shutdown_timeout):
            await server.end_formations()
    with trio.move_on_after(SAVE_SECONDS):
        await server.audit.flush()


def take_place(program: Program, handover: Handover, signals: SignalBox, seconds: float) -> OSError:
    """Execute the program in this process. Returns only when that fails, and then says why.

    One that does not serve within `seconds` is ended by the kernel: an alarm goes over to it (execve(2)),
    which it has to put off by `arrived`. Call it when the event loop has ended, on the main thread.
    """
    descriptors = (*handover.sockets, handover.lock)
    environment = {**os.environ, HANDOVER: msgspec.json.encode(handover).decode()}
    signals.carry_over()
    for fd in descriptors:
        os.set_inheritable(fd, True)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        os.execve(program.path, program.argv, environment)  # noqa: S606 - that is what it is for
    except OSError as error:
        return error
    finally:
        arrived()
        for fd in descriptors:
            os.set_inheritable(fd, False)
        signals.carry_on()


def arrived() -> None:
    """Say that this program serves, so that the one before it need not be brought back."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 0)

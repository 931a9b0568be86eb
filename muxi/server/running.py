"""The server as a process: what it takes hold of before the event loop runs, and gives on after it."""

from __future__ import annotations

import os
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

import structlog
import trio

from muxi.config.load import Loaded
from muxi.errors import MuxiError, OperatorError
from muxi.observe.logging import configure_logging
from muxi.process.cgroup_trial import detect, installation
from muxi.process.confinement import Confiner
from muxi.process.subreaper import become_subreaper
from muxi.proxy.collector import spare_collector
from muxi.proxy.sockets import raise_descriptor_limit
from muxi.registry.lock import exclusive
from muxi.server.check import load_certificates
from muxi.server.directories import prepare_directories
from muxi.server.history import History
from muxi.server.inheritance import inherit
from muxi.server.life import Life, Surroundings
from muxi.server.notify import Manager
from muxi.server.program import this_program
from muxi.server.signals import RELOAD, STOP, UPGRADE, SignalBox
from muxi.server.upgrade import take_place

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from muxi.config.model import Config
    from muxi.server.inheritance import Handover

log = structlog.get_logger()


def run(config: Config, *, notes: Sequence[str] = (), reread: Callable[[], Loaded] | None = None) -> int:
    """Run the server until a signal ends it, and return the exit status: see contributing/server.md.

    `notes` are remarks on the configuration, for the log; `reread` reads it again, from the same
    sources. Raises OperatorError when the port is taken, the disk refuses, or another server uses
    the data directory.
    """
    with ExitStack() as held:
        signals = SignalBox()
        held.callback(signals.release)
        # By default they end the process. So do the others, by right, until there is something to end.
        signals.catch(*RELOAD, *UPGRADE)
        logs = _Log(config)
        held.callback(logs.close)
        prepare_directories(config)
        raise_descriptor_limit()
        inheritance = inherit(os.environ)
        lock = held.enter_context(exclusive(config.paths.data_dir, inheritance.lock))
        certificates = load_certificates(config)
        sockets = inheritance.listen(config)
        for sock in sockets:
            held.callback(sock.close)
        become_subreaper()
        groups = detect(installation(config.paths.data_dir))
        held.callback(groups.close)
        groups.sweep()
        manager = Manager.from_environment(os.environ)
        held.callback(manager.close)
        for note in notes:
            log.warning("configuration", note=note)
        around = Surroundings(
            sockets=sockets,
            certificates=certificates,
            reread=reread or partial(Loaded, config, ()),
            program=this_program(),
            signals=signals,
            manager=manager,
            history=History.after(inheritance.handover, config.paths.data_dir),
            confiner=Confiner(groups),
        )
        signals.catch(*STOP)
        handover = partial(inheritance.pass_on, sockets, lock, around.history)
        return _live(config, around, handover, logs)


def _live(config: Config, around: Surroundings, handover: Callable[[], Handover], logs: _Log) -> int:
    """Run the event loop, and after it the next program; again, if that can't be executed."""
    failure: OperatorError | None = None
    spare_collector()
    while True:
        life = Life(config, around, failure)
        try:
            ending = trio.run(life.run)
        except BaseExceptionGroup as group:
            raise _cause(group) from group
        if not ending.replaced:
            return ending.status
        config = life.config
        logs.reopen(config)
        seconds = config.server.takeover_timeout
        around.manager.silent(seconds)
        error = take_place(around.program, handover(), around.signals, seconds)
        failure = OperatorError(
            f"The program {around.program.path} can't be executed: {error.strerror}. This one serves on.",
            cure="Install it there again, then try once more.",
        )


def _cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the one error for the operator that is in it; the group itself, if there is another."""
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup) and len(found.exceptions) == 1:
        found = found.exceptions[0]
    return found if isinstance(found, MuxiError) else group


class _Log:
    """The server's log, as configured."""

    def __init__(self, config: Config) -> None:
        self.reopen(config)

    def reopen(self, config: Config) -> None:
        """Write out all that is waiting, and begin anew."""
        settings = config.logging
        self._setup = configure_logging(
            settings.level, "json" if settings.format == "json" else "text", settings.output
        )

    def close(self) -> None:
        self._setup.close()

"""A formation that says what it can do: a JSON object of its findings in state/found, then it serves.

ON_TERM: the status it exits with on SIGTERM, after it has written state/ended.
"""

import ctypes
import json
import os
import pathlib
import signal
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer

state = pathlib.Path(os.environ["HOME"])
libc = ctypes.CDLL(None, use_errno=True)


def attempt(action: Callable[[], object]) -> str | None:
    try:
        return str(action())
    except OSError as error:
        return error.strerror


def system_call(function: str, *arguments: object) -> str:
    return "done" if getattr(libc, function)(*arguments) == 0 else os.strerror(ctypes.get_errno())


def write(path: str | pathlib.Path) -> str:
    pathlib.Path(path).write_text("x")
    return "written"


found = {
    "release": attempt(lambda: write("new-file")),
    "system": attempt(lambda: write("/usr/new-file")),
    "root": attempt(lambda: write("/new-file")),
    "state": attempt(lambda: write(state / "new-file")),
    "link": attempt(lambda: write("memory.db")),
    "tmp": attempt(lambda: write("/tmp/new-file")),
    "tmp before": [str(path) for path in pathlib.Path("/tmp").glob("earlier*")],
    "shm": attempt(lambda: write("/dev/shm/new-file")),
    "others": attempt(lambda: pathlib.Path(os.environ["SECRET_FILE"]).read_text()),
    "shadow": attempt(lambda: pathlib.Path("/etc/shadow").read_bytes()),
    "pid": os.getpid(),
    "processes": sorted(int(path.name) for path in pathlib.Path("/proc").iterdir() if path.name.isdigit()),
    "no new privileges": [
        line.split()[1]
        for line in pathlib.Path("/proc/self/status").read_text().splitlines()
        if line.startswith(("NoNewPrivs", "CapEff", "Seccomp:"))
    ],
    "unshare": system_call("unshare", 0x10000000),
    "mount": system_call("mount", b"none", b"/tmp", b"tmpfs", 0, None),
    "ptrace": system_call("ptrace", 0, 0, 0, 0),
}
threading.Thread(target=lambda: None).start()
pathlib.Path("/tmp/earlier").write_text("left behind")
(state / "found.new").write_text(json.dumps(found))
(state / "found.new").rename(state / "found")


def end(*_: object) -> None:
    (state / "ended").write_text("in good order")
    os._exit(int(os.environ["ON_TERM"]))


signal.signal(signal.SIGTERM, end)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path.startswith("/die"):
            os._exit(int(self.path.partition("?")[2]))
        if self.path == "/kill":
            os.kill(os.getpid(), signal.SIGKILL)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()


HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
sys.exit(0)

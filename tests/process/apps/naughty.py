"""A formation that is healthy, and then misbehaves as its first argument says.

hang      /hang makes it answer nothing any more, health checks included, and keep the asker waiting
daemon    serves from a process of a session of its own, whose parent has gone; the leader stays
steal     does not listen where it is told to
PID files are written into the directory that is its second argument.
"""

import os
import pathlib
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

how, directory = sys.argv[1], pathlib.Path(sys.argv[2])
hanging = threading.Event()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/hang":
            hanging.set()
        while hanging.is_set():
            time.sleep(600)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()


def note_pid(name: str) -> None:
    temporary = directory / f".{name}"
    temporary.write_text(str(os.getpid()))
    temporary.rename(directory / name)


def serve() -> None:
    ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Handler).serve_forever()


if how == "daemon":
    if os.fork() == 0:
        os.setsid()
        if os.fork() != 0:
            os._exit(0)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        note_pid("daemon")
        serve()
    os.wait()
    time.sleep(600)
elif how == "steal":
    time.sleep(600)
serve()

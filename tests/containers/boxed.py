"""A formation that is a container of the tests' image, and does as it is asked."""

from __future__ import annotations

from tests.containers.dockerd import IMAGE
from tests.live import bundle

APP = """
import http.server, json, os, signal, sys, threading

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = b"{}"
        if self.path == "/env":
            body = json.dumps(dict(os.environ)).encode()
        elif self.path == "/who":
            facts = {"version": VERSION, "uid": os.getuid(), "pid": os.getpid(), "cwd": os.getcwd()}
            with open("/proc/self/status") as file:
                facts["status"] = dict(line.rstrip().split(":\\t", 1) for line in file if ":\\t" in line)
            body = json.dumps(facts).encode()
        elif self.path == "/write":
            try:
                open("app.py", "a")
            except OSError as error:
                body = error.strerror.encode()
        elif self.path == "/eat":
            eaten = [bytearray(1 << 20) for _ in range(4096)]
        elif self.path == "/exit":
            os._exit(7)
        elif self.path == "/remember":
            with open("memory.db", "a") as file:
                file.write(VERSION)
            body = open("memory.db", "rb").read()
        elif self.path.startswith("/say/"):
            print(self.path[5:], flush=True)
            print("err " + self.path[5:], file=sys.stderr, flush=True)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass

signal.signal(signal.SIGTERM, lambda *_: (print("asked to end", flush=True), os._exit(0)))
print("app started", flush=True)
http.server.ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Handler).serve_forever()
"""


def boxed(formation_id: str, version: str = "1", /, **fields: object) -> bytes:
    """Make a bundle whose `app.py` runs in a container; `fields` are those of its manifest."""
    facts: dict[str, object] = {"image": IMAGE, "command": ["/usr/bin/python3", "app.py"], **fields}
    return bundle(formation_id, {"app.py": f"VERSION = {version!r}\n{APP}"}, **facts)

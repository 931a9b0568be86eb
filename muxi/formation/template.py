"""What a new draft begins with: a formation that can be deployed as it is. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_MANIFEST = """\
schema: "1.0.0"
id: {id}
name: {id}
description: A new formation.
version: "1.0.0"
command: ["python3", "-u", "app.py"]
"""

_APP = '''\
"""Answers its health check, and everything else with a greeting. Put your own service here."""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        healthy = self.path == "/v1/health"
        body = json.dumps({"status": "healthy"} if healthy else {"message": "Hello."}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    address = (os.environ["HOST"], int(os.environ["PORT"]))
    ThreadingHTTPServer(address, Handler).serve_forever()
'''


def new_formation(formation_id: str) -> Mapping[str, str]:
    """Return the files of a new formation: name and content."""
    return {"formation.afs": _MANIFEST.format(id=formation_id), "app.py": _APP}

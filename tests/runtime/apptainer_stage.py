"""Apptainer's stand-in put on a PATH, images for it, and the program that is in them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from muxi.images.names import architecture

STAND_IN = Path(__file__).with_name("apptainer_stand_in.py")

APP = """
import json, os, pathlib, signal, subprocess, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer

release, state = pathlib.Path(os.environ["FORMATION_DIR"]), pathlib.Path(os.environ["STATE_DIR"])
(release / ".key").write_text("made by the runtime")
manifest = (release / "formation.afs").read_text() if (release / "formation.afs").exists() else ""
if "stubborn" in manifest:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if "leaves-children" in manifest:
    sleep = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"]
    child = subprocess.Popen(sleep, start_new_session=True)
    (state / "child").write_text(str(child.pid))
if "fails" in manifest:
    print("[ FAIL ] no such model", flush=True)
    sys.exit(1)

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path, _, query = self.path.partition("?")
        if path == "/die":
            os._exit(int(query))
        body = {"/env": dict(os.environ), "/pid": os.getpid()}.get(path, {"path": self.path})
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        pass

given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
HTTPServer((given["--host"], int(given["--port"])), Handler).serve_forever()
"""


def install_engine(directory: Path, name: str = "apptainer", says: str = "") -> Path:
    """Put the stand-in into a directory, under this name; `says` replaces its version."""
    directory.mkdir(parents=True, exist_ok=True)
    source = STAND_IN.read_text()
    if says:
        source = source.replace("VERSION = ", f"VERSION = {says!r} or ")
    program = directory / name
    program.write_text(f"#!{sys.executable} -IS\n{source}")
    program.chmod(0o755)
    return program


def make_image(
    runtimes: Path, seen: Path, version: str = "1.2.3", variant: str = "", arch: str = "amd64"
) -> Path:
    """Make an image of the runtime as the mirror has them. `seen` gets what the engine was started with."""
    runtimes.mkdir(parents=True, exist_ok=True)
    suffix = f"-{variant}" if variant else ""
    image = runtimes / f"muxi-runtime-{version}{suffix}-linux-{architecture()}.sif"
    image.write_text(json.dumps({"app": APP, "seen": str(seen)}))
    return image

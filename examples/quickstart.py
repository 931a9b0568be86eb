"""What `make run` does: a server with an agent on it, started, asked and left running.

Its data is in `.muxi/` of the checkout. PORT=… chooses the port; MUXI_HOST, MUXI_LOG_LEVEL and the
other variables of the server hold as ever. Ctrl-C ends the server and all formations.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from muxi.cli.client import ServerClient
from muxi.cli.failures import exit_code, report
from muxi.cli.settings import load_settings, paths, server_url
from muxi.errors import MuxiError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from muxi.config.model import Config

ROOT = Path(__file__).resolve().parent.parent
AGENT = "hello-agent"
MUXI = [sys.executable, "-m", "muxi"]
QUESTION = "What are you?"
START_SECONDS = 60.0
TRY_SECONDS = 3.0
FORMATION_SECONDS = 90.0
ANSWER_SECONDS = 30.0
STOP_SECONDS = 90.0


class Failed(Exception):
    """The quick start can't go on; the text says why, and is empty when that has been said already."""


def choose_environment() -> None:
    """Let this process and the commands it calls use the checkout's own data and the chosen port."""
    data = ROOT / ".muxi"
    chosen = {
        "MUXI_CONFIG_DIR": str(data),
        "MUXI_DATA_DIR": str(data),
        "MUXI_LOG_DIR": str(data / "logs"),
        "MUXI_LOG_LEVEL": "warn",
    }
    for name, value in chosen.items():
        os.environ.setdefault(name, value)
    if port := os.environ.get("PORT"):
        os.environ["MUXI_PORT"] = port


def muxi(*arguments: str, output: int | None = None) -> str:
    """Run a command as a person would; what it can't do it says itself."""
    done = subprocess.run([*MUXI, *arguments], cwd=ROOT, stdout=output, text=True, check=False)
    if done.returncode:
        raise Failed
    return done.stdout or ""


def initialise() -> Config:
    """Make the configuration the first time, on loopback, and show its credentials that once."""
    if not paths().config_file.exists():
        host = os.environ.get("MUXI_HOST", "127.0.0.1")
        made = json.loads(muxi("init", "--json", "--host", host, output=subprocess.PIPE))
        print(f"A new server, {made['server_id']}, configured in {made['config_file']}")
        print("Its credentials, shown this one time; they stay in that file, which only you can read:")
        print(f"  Key ID: {made['key_id']}\n  Secret: {made['secret']}\n", flush=True)
    return load_settings(paths()).config


class Server:
    """The server's process, in a process group of its own: Ctrl-C reaches it through us, once."""

    def __init__(self, config: Config) -> None:
        if config.server.port == 0:
            raise Failed("PORT must be the number of a port, so that we can find the server there.")
        self.config = config
        self.url = server_url(config)
        self.process = subprocess.Popen([*MUXI, "start"], cwd=ROOT, process_group=0)

    def client(self, answer_seconds: float = ANSWER_SECONDS) -> ServerClient:
        keys = self.config.auth.keys
        return ServerClient(self.url, keys[0] if keys else None, answer_seconds=answer_seconds)

    def wait_until_it_answers(self) -> None:
        """Wait until our own server answers; another one on the same port does not know our key."""
        for _ in self._until(START_SECONDS):
            try:
                with self.client(TRY_SECONDS) as client:
                    status = client.get("/rpc/server/status")
            except MuxiError:
                continue
            if self.config.server_id in json.dumps(status):
                return

    def wait_for_agent(self) -> None:
        """Wait until the agent answers its health check through the proxy."""
        for _ in self._until(FORMATION_SECONDS):
            try:
                with self.open("GET", f"/api/{AGENT}/v1/health") as response:
                    if response.status == 200:
                        return
            except (OSError, http.client.HTTPException):
                continue

    def open(self, method: str, path: str, body: str | None = None) -> http.client.HTTPResponse:
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=ANSWER_SECONDS)
        headers = {"Connection": "close", "Content-Type": "application/json"}
        connection.request(method, path, body, headers)
        return connection.getresponse()

    def _until(self, seconds: float) -> Iterator[None]:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise Failed("The server ended; it says why above. Another port: make run PORT=8080")
            yield
            time.sleep(0.1)
        raise Failed(f"No answer within {seconds:.0f} s. MUXI_LOG_LEVEL=debug shows more.")

    def stop(self) -> int:
        """End it: a TERM, and a KILL if its own deadlines all fail. Return its exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def bring_agent(server: Server) -> None:
    """Deploy the agent, unless it is there from an earlier run; start it if it was stopped."""
    with server.client() as client:
        listed = client.get("/rpc/formations").get("formations")
    states = {item["id"]: item["status"] for item in listed} if isinstance(listed, list) else {}
    if AGENT not in states:
        muxi("formation", "deploy", str(ROOT / "examples" / AGENT))
    elif states[AGENT] in {"stopped", "crashed"}:
        muxi("formation", "start", AGENT)
    else:
        print(f"{AGENT} is deployed already.", flush=True)
    server.wait_for_agent()


def chat(server: Server) -> None:
    """Ask the agent through the proxy, and print the tokens as they arrive."""
    body = json.dumps({"message": QUESTION})
    print(f"\n$ curl -N {server.url}/api/{AGENT}/v1/chat -d '{body}'")
    try:
        with server.open("POST", f"/api/{AGENT}/v1/chat", body) as response:
            if response.status != 200:
                raise Failed(f"The agent answered {response.status}: {response.read(500)!r}")
            for token in tokens(response):
                print(token, end="", flush=True)
    except (OSError, http.client.HTTPException) as error:
        raise Failed(f"The answer broke off: {error}") from error
    print("\n")


def tokens(response: http.client.HTTPResponse) -> Iterator[str]:
    """Yield the tokens of the answer's events, each as soon as it is here."""
    while line := response.readline():
        if line.startswith(b"event: done"):
            return
        if line.startswith(b"data: "):
            yield json.loads(line[6:])["token"]["content"]
    raise Failed("The answer broke off.")


def explain(server: Server) -> None:
    """Say where everything is, and what to do next."""
    config_file = server.config.paths.config_file
    key = server.config.auth.keys[0].id if server.config.auth.keys else "none"
    command = Path(sys.executable).with_name("muxi-server")
    names = ["MUXI_CONFIG_DIR", "MUXI_DATA_DIR", *(["MUXI_PORT"] if os.environ.get("PORT") else [])]
    print(f"Serving on {server.url}")
    print(f"  Key ID: {key} (its secret is in {config_file})")
    print("From another terminal, deploy an agent of your own; examples/README.md says what it needs:")
    print(f"  export {' '.join(f'{name}={os.environ[name]}' for name in names)}")
    print(f"  {command} formation deploy DIRECTORY")
    print("Ctrl-C ends the server and its formations; `make run` brings them back.", flush=True)


def interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def main() -> int:
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    server: Server | None = None
    try:
        choose_environment()
        server = Server(initialise())
        server.wait_until_it_answers()
        bring_agent(server)
        chat(server)
        explain(server)
        return server.process.wait()
    except KeyboardInterrupt:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        print("\nEnding the server and its formations ...", flush=True)
        return server.stop() if server else 0
    except Failed as error:
        if str(error):
            print(f"Error: {error}", file=sys.stderr)
        return (server.stop() if server else 0) or 1
    except MuxiError as error:
        report(error)
        return (server.stop() if server else 0) or exit_code(error)


if __name__ == "__main__":
    sys.exit(main())

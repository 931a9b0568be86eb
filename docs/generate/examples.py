"""The parts of the API's reference, the routes of each, and an example of every one.

tests/docs runs the examples in this order against one server, so each may rely on those before it.
`signed` and the variables are explained at the top of docs/api.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from muxi.api.formations import ONE

FORMATIONS: Final = "/rpc/formations"
AGENT: Final = f"{FORMATIONS}/my-agent"
DRAFT: Final = f"{FORMATIONS}/my-agent/draft/files"
GZIP: Final = "-H 'Content-Type: application/gzip'"
JSON: Final = "-H 'Content-Type: application/json'"


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the page: its title, what is to be said first, and its routes with their examples.

    A route that does the same as another, in another client's words, has none of its own: it is named
    beside the one with the same summary.
    """

    title: str
    about: str
    examples: dict[str, tuple[str, ...]]


def _draft(fields: str) -> str:
    return f"signed POST {DRAFT} {JSON} -d '{{{fields}}}'"


PARTS: Final = (
    Part(
        "Without a signature",
        "Who reaches the port may ask these.",
        {
            "GET /health": ('curl -fsS "$MUXI_URL/health"',),
            "GET /ping": ('curl -fsS "$MUXI_URL/ping"',),
            "GET /livez": ('curl -fsS "$MUXI_URL/livez"',),
            "GET /readyz": ('curl -fsS "$MUXI_URL/readyz"',),
            "GET /metrics": ('curl -fsS -H "Authorization: Bearer $METRICS_TOKEN" "$MUXI_URL/metrics"',),
            "GET /docs": ("curl -fsS -o /dev/null -w '%{redirect_url}\\n' \"$MUXI_URL/docs\"",),
        },
    ),
    Part(
        "The server",
        "What it is, what it does, and what it has been asked.",
        {
            "GET /rpc/server/status": ("signed GET /rpc/server/status",),
            "GET /rpc/server/logs": ("signed GET '/rpc/server/logs?lines=20'",),
            "GET /rpc/server/telemetry": ("signed GET /rpc/server/telemetry",),
            "GET /rpc/runtimes": ("signed GET /rpc/runtimes",),
            "GET /rpc/openapi.json": ("signed GET /rpc/openapi.json > openapi.json",),
        },
    ),
    Part(
        "Deploying",
        "A bundle is a gzipped tar of a directory. It is the body, or named in JSON: by its path on the "
        "server's machine, or as base64.",
        {
            f"POST {FORMATIONS}/validate": (
                f"signed POST {FORMATIONS}/validate -H 'X-Formation-ID: my-agent' \\",
                f"    {GZIP} --data-binary @my-agent.tar.gz",
            ),
            f"POST {FORMATIONS}": (
                f"signed POST {FORMATIONS} -H 'X-Formation-ID: my-agent' \\",
                f"    {GZIP} --data-binary @my-agent.tar.gz",
            ),
            f"POST {FORMATIONS}/deploy": (
                f"signed POST {FORMATIONS}/deploy {JSON} \\",
                '    -d "{\\"id\\": \\"other-agent\\", \\"bundle_path\\": \\"$PWD/other-agent.tar.gz\\"}"',
            ),
            f"POST {ONE}/deploy": (
                f"signed POST {FORMATIONS}/third-agent/deploy -H 'Accept: text/event-stream' \\",
                f"    {GZIP} --data-binary @third-agent.tar.gz",
            ),
            f"PUT {ONE}": (
                f"signed PUT '{AGENT}?force=true' -H 'Accept: text/event-stream' \\",
                f"    {GZIP} --data-binary @my-agent.tar.gz",
            ),
            f"GET {ONE}/releases": (f"signed GET {AGENT}/releases",),
            f"POST {ONE}/rollback": (f"signed POST {AGENT}/rollback",),
            f"GET {ONE}/operation": (f"signed GET {AGENT}/operation",),
            f"POST {ONE}/cancel": (
                f"signed POST {AGENT}/cancel        # 409 when nothing is under way that could be",
            ),
            f"POST {ONE}/cancel-update": (f"signed POST {AGENT}/cancel-update",),
        },
    ),
    Part(
        "Running",
        "What is deployed, and its process.",
        {
            f"GET {FORMATIONS}": (f"signed GET '{FORMATIONS}?status=running,starting'",),
            f"GET {ONE}": (f"signed GET {AGENT}",),
            f"GET {ONE}/logs": (f"signed GET '{AGENT}/logs?lines=20&stream=stdout'",),
            f"POST {ONE}/restart": (f"signed POST {AGENT}/restart",),
            f"POST {ONE}/stop": (f"signed POST {AGENT}/stop",),
            f"POST {ONE}/start": (f"signed POST {AGENT}/start",),
            f"GET {ONE}/download": (f"signed GET '{AGENT}/download?db=true' -o my-agent.zip",),
        },
    ),
    Part(
        "Drafts",
        "Files that are edited on the server, then deployed. One route does it all; `action` says what.",
        {
            f"POST {ONE}/draft/files": (
                _draft('"action": "init", "mode": "clone"'),
                _draft('"action": "write", "path": "notes.txt", "content": "hello"'),
                _draft('"action": "list", "path": ""'),
                _draft('"action": "read", "path": "notes.txt"'),
                _draft('"action": "delete", "path": "notes.txt"'),
                _draft('"action": "discard"') + '        # or "deploy"',
            ),
        },
    ),
    Part(
        "A directory as it is",
        "For work on the server's own machine: a directory runs under `/draft/{id}/`, without a release.",
        {
            "POST /rpc/dev/run": (
                f"signed POST /rpc/dev/run {JSON} \\",
                '    -d "{\\"path\\": \\"$PWD/my-agent\\"}"',
            ),
            "POST /rpc/dev/stop": (
                f"signed POST /rpc/dev/stop {JSON} \\",
                '    -d \'{"formation_id": "my-agent"}\'',
            ),
        },
    ),
    Part(
        "Deleting",
        "What is deleted is gone, with its database. Download it before.",
        {f"DELETE {ONE}": (f"signed DELETE {AGENT}",)},
    ),
)

#: Examples that are refused where nothing is under way, as they say: the exit status of curl.
REFUSED: Final = {f"POST {ONE}/cancel": 22, f"POST {ONE}/cancel-update": 22}

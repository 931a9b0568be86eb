"""What each route is for, what it takes, and what it answers: the words of the API's description.

A route that is not in `ROUTES` fails a test, and so does a row without a route.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from muxi.api import models
from muxi.api.formations import ONE
from muxi.api.parameters import MOST_LINES

if TYPE_CHECKING:
    from collections.abc import Mapping

JSON: Final = "application/json"
EVENTS: Final = "text/event-stream"
TEXT: Final = "text/plain"
ZIP: Final = "application/zip"
BUNDLE: Final = "application/gzip"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A value in the query, or with `header` in a header; `schema` is JSON Schema."""

    name: str
    about: str
    schema: Mapping[str, object]
    header: bool = False


@dataclass(frozen=True, slots=True)
class About:
    """A route. `answer` is the model of a good answer's `data`; None: an empty object.

    `bare`: it is not in an envelope. `kinds` are the types of content that a good answer may have,
    `body` the model of a JSON body, `bundle`: the body may be a bundle. `fails` are the statuses of
    failures beyond those that all routes of its kind have.
    """

    summary: str
    answer: type | None = None
    status: int = 200
    kinds: tuple[str, ...] = (JSON,)
    bare: bool = False
    takes: tuple[Parameter, ...] = ()
    body: type | None = None
    bundle: bool = False
    fails: tuple[int, ...] = ()


BOTH: Final = (JSON, EVENTS)
_TEXT: Final = {"type": "string", "minLength": 1}
_STRATEGY: Final = {"type": "string", "enum": ["blue-green", "recreate"]}
_LINES: Final = {"type": "integer", "minimum": 1, "maximum": MOST_LINES}

LINES: Final = (
    Parameter("lines", "How many lines from the end.", _LINES),
    Parameter("limit", "Another name of `lines`.", _LINES),
)
LOG: Final = (
    *LINES,
    Parameter("stream", "Which output: stdout, stderr, or all.", {"type": "string"}),
    Parameter("follow", "Whether to go on with what comes, as events.", {"type": "string"}),
    Parameter("draft", "Whether it is about what runs under `/draft/{id}`.", {"type": "string"}),
)
STRATEGY: Final = Parameter("strategy", "How one release takes the place of another.", _STRATEGY)
FORCE: Final = Parameter("force", "Whether the same bundle is deployed again.", {"type": "boolean"})
NAMED: Final = Parameter("X-Formation-ID", "The formation's id.", _TEXT, header=True)
VERSION: Final = Parameter("X-Formation-Version", "What the manifest must say.", _TEXT, header=True)

DEPLOY: Final = About(
    "Deploy a bundle.",
    models.Done,
    201,
    BOTH,
    takes=(VERSION,),
    body=models.BundleBody,
    bundle=True,
    fails=(409, 413, 415, 422),
)
UPDATE: Final = About(
    "Update a formation to another bundle, without an interruption.",
    models.Done,
    kinds=BOTH,
    takes=(VERSION, STRATEGY, FORCE),
    body=models.BundleBody,
    bundle=True,
    fails=(409, 413, 415, 422),
)
ROLLBACK: Final = About(
    "Go back to an earlier release.",
    models.Done,
    kinds=BOTH,
    takes=(
        STRATEGY,
        Parameter("release", "The number of the release.", {"type": "integer", "minimum": 1}),
        Parameter("version", "The version of its manifest.", _TEXT),
    ),
    body=models.RollbackBody,
    fails=(409, 413, 422),
)
START: Final = About("Start a formation.", models.Done, kinds=BOTH, fails=(409, 422))
RESTART: Final = About(
    "End a formation's process, and start it again.", models.Done, kinds=BOTH, fails=(409, 422)
)
LOGS: Final = About(
    "Show the end of what a formation has written, or follow it.", models.Logs, kinds=BOTH, takes=LOG
)
OPERATION: Final = About(
    "Show the latest operation of a formation, or watch it.",
    models.Operation,
    kinds=BOTH,
    takes=(Parameter("id", "An earlier operation.", _TEXT),),
)

ROUTES: Final[Mapping[str, About]] = {
    "GET /health": About("Say that the server is well.", models.Health, bare=True),
    "GET /livez": About("Say that the server lives.", kinds=(TEXT,), bare=True),
    "GET /readyz": About("Say whether requests are well sent here.", kinds=(TEXT,), bare=True, fails=(503,)),
    "GET /metrics": About(
        "Give counts for Prometheus, if the configuration has it so.",
        kinds=(TEXT,),
        bare=True,
        fails=(401, 404),
    ),
    "GET /ping": About("Answer.", kinds=(TEXT,), bare=True),
    "GET /docs": About("Lead to the documents.", status=302, kinds=(TEXT,), bare=True),
    "GET /rpc/openapi.json": About("Describe this API.", models.Document, bare=True),
    "GET /rpc/server/status": About("Show the server's state.", models.ServerStatus),
    "GET /rpc/server/logs": About("Show the end of the audit log.", kinds=(TEXT,), bare=True, takes=LINES),
    "GET /rpc/runtimes": About("Show what formations can run on, and do.", models.Runtimes),
    "GET /rpc/server/telemetry": About("Show what is reported of usage.", models.TelemetryStanding),
    "GET /rpc/formations": About(
        "List the formations.",
        models.Formations,
        takes=(Parameter("status", "Statuses, with commas between.", {"type": "string"}),),
        fails=(422,),
    ),
    "POST /rpc/formations": About(
        "Deploy a bundle, its id in a header.",
        models.Done,
        201,
        BOTH,
        takes=(NAMED, VERSION),
        bundle=True,
        fails=(409, 413, 415, 422),
    ),
    "POST /rpc/formations/deploy": About(
        "Deploy a bundle, its id in a header or in the body.",
        models.Done,
        201,
        BOTH,
        takes=(NAMED, VERSION),
        body=models.BundleBody,
        bundle=True,
        fails=(409, 413, 415, 422),
    ),
    "POST /rpc/formations/validate": About(
        "Check a bundle as a deploy would.",
        models.Valid,
        takes=(NAMED, VERSION),
        body=models.BundleBody,
        bundle=True,
        fails=(409, 413, 415, 422),
    ),
    f"GET {ONE}": About("Show a formation.", models.FormationDetail),
    f"PUT {ONE}": UPDATE,
    f"DELETE {ONE}": About("End a formation, and remove it with its data.", models.Done, fails=(409, 422)),
    f"POST {ONE}/deploy": DEPLOY,
    f"POST {ONE}/deploy/stream": DEPLOY,
    f"POST {ONE}/update": UPDATE,
    f"POST {ONE}/update/stream": UPDATE,
    f"POST {ONE}/rollback": ROLLBACK,
    f"POST {ONE}/rollback/stream": ROLLBACK,
    f"POST {ONE}/start": START,
    f"POST {ONE}/start/stream": START,
    f"POST {ONE}/restart": RESTART,
    f"POST {ONE}/restart/stream": RESTART,
    f"POST {ONE}/stop": About("End a formation's process; it stays deployed.", models.Done, fails=(409, 422)),
    f"GET {ONE}/operation": OPERATION,
    f"GET {ONE}/operation/stream": OPERATION,
    f"POST {ONE}/cancel": About(
        "Cancel a deploy, update or rollback, and undo it.", models.CancelledOperation, fails=(409, 422)
    ),
    f"POST {ONE}/cancel-update": About(
        "Do the same, in the original's shape.", models.Cancelled, bare=True, fails=(409, 422)
    ),
    f"GET {ONE}/logs": LOGS,
    f"GET {ONE}/logs/stream": LOGS,
    f"GET {ONE}/releases": About("List the releases that are kept.", models.Releases),
    f"GET {ONE}/download": About(
        "Give a formation's files.",
        kinds=(ZIP,),
        bare=True,
        takes=(Parameter("db", "Whether its database is among them.", {"type": "boolean"}),),
        fails=(507,),
    ),
    f"POST {ONE}/draft/files": About(
        "Do something to a formation's draft.",
        models.Draft,
        kinds=BOTH,
        bare=True,
        body=models.DraftBody,
        fails=(403, 409, 413, 422),
    ),
    "POST /rpc/dev/run": About(
        "Run a directory of the server's machine as it is.",
        models.DevRun,
        bare=True,
        body=models.DevRunBody,
        fails=(403, 404, 409, 413, 422),
    ),
    "POST /rpc/dev/stop": About(
        "End such a run.", models.DevRun, bare=True, body=models.DevStopBody, fails=(403, 404, 409, 413, 422)
    ),
}

"""The manifest of a formation (`formation.afs|yaml|yml`): which formation it is and how it is run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from muxi.config.values import parse_boolean
from muxi.errors import RequestError
from muxi.formation.disk import disk_work
from muxi.formation.fields import Fields
from muxi.formation.health import read_health
from muxi.formation.identifier import id_problem
from muxi.formation.policy import ProxyOptions, read_options
from muxi.formation.resources import ResourceOptions, read_resources
from muxi.formation.yaml_tree import MAX_SIZE, YamlProblem, read_mapping
from muxi.runtime.program import HealthOptions, Kind

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

FILE_NAMES = ("formation.afs", "formation.yaml", "formation.yml")
DEFAULT_VERSION = "1.0.0"
NATIVE_APP = "app.py"
Strategy = Literal["blue-green", "recreate"]
STRATEGIES: Final[tuple[Strategy, Strategy]] = ("blue-green", "recreate")
RCE_VARIABLES: Final = ("MUXI_RCE_URL", "MUXI_RCE_TOKEN")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a manifest says. Times are seconds; None means it does not say.

    `kind` is how the formation runs: as a process of its own (`native`), on the MUXI runtime, or as a
    container of its `image`. `python` is the interpreter that it asks for; with `environment` false it has
    no environment made of its requirements.
    A native one without `command` is its `app.py`. `env` may hold secrets and is in no repr.
    `depends_on` are the formations that are to be healthy before this one is started; `strategy`
    is how one process of it takes the place of another (`muxi.formation.replace`). `sandbox` says
    whether its process is to be kept apart from the machine (`muxi.sandbox.demand`).
    """

    file_name: str
    id: str
    kind: Kind
    name: str
    description: str = ""
    version: str = DEFAULT_VERSION
    schema: str | None = None
    muxi_runtime: str | None = None
    author: str | None = None
    url: str | None = None
    license: str = "Unlicense"
    python: str | None = None
    environment: bool = True
    image: str | None = None
    command: tuple[str, ...] | None = None
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    own_rce: bool = False
    """Whether it says itself which code runner it uses, in a block `rce:` or in its `env`."""
    health: HealthOptions = field(default_factory=HealthOptions)
    stop_timeout: float | None = None
    proxy: ProxyOptions = field(default_factory=ProxyOptions)
    resources: ResourceOptions = field(default_factory=ResourceOptions)
    depends_on: tuple[str, ...] = ()
    strategy: Strategy = "blue-green"
    sandbox: bool | None = None


def read_manifest(root: Path) -> Manifest:
    """Read the manifest of an extracted bundle. Raises RequestError (ParseError), StorageError."""
    with disk_work("read the bundle", stage="validating"):
        names = {path.name for path in root.iterdir()}
        for file_name in FILE_NAMES:
            if (root / file_name).is_file():
                with (root / file_name).open("rb") as file:
                    data = file.read(MAX_SIZE + 1)
                return parse_manifest(data, file_name, names)
    raise RequestError(
        "Formation config not found: the bundle has none of formation.afs, formation.yaml, formation.yml.",
        code="ParseError",
        stage="validating",
        cure="Put the file at the top of the bundle, or directly below its one top directory.",
    )


def parse_manifest(data: bytes, file_name: str, bundle_names: Collection[str]) -> Manifest:
    """Parse a manifest's bytes. Pure. `bundle_names` are the names at the top of its bundle.

    Raises one RequestError (ParseError) that lists everything that is wrong, with lines.
    """
    try:
        mapping = read_mapping(data)
    except YamlProblem as error:
        raise _parse_error(file_name, [str(error)]) from error
    problems: list[str] = []
    manifest = _read_fields(Fields(mapping, problems), problems, file_name, bundle_names)
    if problems:
        raise _parse_error(file_name, problems)
    return manifest


def check_identity(manifest: Manifest, formation_id: str | None, version: str | None) -> None:
    """Compare the manifest with what the request says it is; what is None is not compared.

    Raises RequestError: IDMismatch, VersionMismatch.
    """
    for what, code, stated, found in (
        ("id", "IDMismatch", formation_id, manifest.id),
        ("version", "VersionMismatch", version, manifest.version),
    ):
        if stated is not None and stated != found:
            raise RequestError(
                f"Formation {what} mismatch: the request says '{stated}', "
                f"{manifest.file_name} says '{found}'.",
                code=code,
                stage="validating",
                cure=f"Make both the same: change `{what}` in {manifest.file_name}, or the request.",
            )


def _read_fields(
    fields: Fields, problems: list[str], file_name: str, bundle_names: Collection[str]
) -> Manifest:
    formation_id = fields.line("id") or ""
    _check_id(fields, formation_id, problems)
    env = fields.variables("env")
    manifest = Manifest(
        file_name=file_name,
        id=formation_id,
        kind=_kind(fields, bundle_names),
        name=fields.line("name") or formation_id,
        description=fields.text("description") or "",
        version=fields.line("version") or DEFAULT_VERSION,
        schema=fields.line("schema"),
        muxi_runtime=fields.line("muxi_runtime"),
        author=fields.text("author"),
        url=fields.line("url"),
        license=fields.line("license") or "Unlicense",
        python=fields.line("python"),
        environment=fields.value("environment", parse_boolean) is not False,
        image=fields.line("image"),
        command=fields.words("command"),
        env=env,
        own_rce=fields.has("rce") or any(name in env for name in RCE_VARIABLES),
        health=read_health(fields),
        stop_timeout=fields.duration("stop_timeout"),
        proxy=read_options(fields),
        resources=read_resources(fields),
        depends_on=_dependencies(fields, formation_id),
        strategy=fields.value("strategy", _strategy) or STRATEGIES[0],
        sandbox=fields.value("sandbox", parse_boolean),
    )
    _check_kind(manifest, fields, bundle_names, problems)
    return manifest


def _check_id(fields: Fields, formation_id: str, problems: list[str]) -> None:
    problem = id_problem(formation_id)
    if problem is None:
        return
    if fields.has("id"):
        fields.complain("id", problem)
    else:
        problems.append("id is missing")


def _dependencies(fields: Fields, formation_id: str) -> tuple[str, ...]:
    wanted = fields.ids("depends_on")
    if formation_id in wanted:
        fields.complain("depends_on", "names the formation itself; leave it out")
    return wanted


def _strategy(text: str) -> Strategy:
    for strategy in STRATEGIES:
        if text.strip() == strategy:
            return strategy
    raise ValueError(f"is none of {', '.join(STRATEGIES)}")


def _kind(fields: Fields, bundle_names: Collection[str]) -> Kind:
    """Decide: a named image or runtime is what it says; a command is native, and so is a bare app.py."""
    if fields.has("image"):
        return "image"
    if fields.has("muxi_runtime"):
        return "muxi"
    if fields.has("command"):
        return "native"
    has_agents = fields.has("agents") or fields.has("llm") or "agents" in bundle_names
    return "muxi" if has_agents else "native"


def _check_kind(
    manifest: Manifest, fields: Fields, bundle_names: Collection[str], problems: list[str]
) -> None:
    if manifest.kind == "muxi":
        if not manifest.description.strip():
            problems.append("description is missing; a MUXI formation needs one")
    elif manifest.kind == "native" and not fields.has("command") and NATIVE_APP not in bundle_names:
        problems.append(
            f"there is neither a `command` nor a file {NATIVE_APP}; say how the formation is started, "
            'for example command: ["python3", "main.py"]'
        )


def _parse_error(file_name: str, problems: list[str]) -> RequestError:
    several = f"{len(problems)} problems: " if len(problems) > 1 else ""
    return RequestError(
        f"{file_name} can't be used: {several}{'; '.join(problems)}.",
        code="ParseError",
        stage="validating",
        cure=f"Correct {file_name} and deploy again.",
        details={"problems": problems},
    )

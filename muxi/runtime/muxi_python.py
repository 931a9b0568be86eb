"""Running a MUXI formation on the package `muxi-runtime`, in a Python environment: no engine, no root.

The exact version is decided once and kept with the release, and so is the environment that it is
installed in; a start after that asks nobody. Such environments hold nothing but the runtime, so
all formations on one version share one.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from muxi.environment.requirements import server_requirements
from muxi.errors import FormationFailed, MuxiError, OperatorError, RequestError
from muxi.images.versions import LEAN, parse
from muxi.runtime.launcher import place_launcher
from muxi.runtime.packages import of_environment, steps
from muxi.runtime.pin import Pin
from muxi.runtime.process_spec import make_spec, own_variables, server_variables
from muxi.runtime.runtime import Prepared, Presence
from muxi.runtime.wheel_version import installed_versions, requirement

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from muxi.config.isolation import FormationIsolation
    from muxi.config.runtime import RuntimeConfig
    from muxi.environment.interpreter import Interpreter
    from muxi.environment.store import Environment, Environments
    from muxi.images.versions import Wanted
    from muxi.process.spec import ProcessSpec
    from muxi.runtime.program import Program
    from muxi.runtime.runtime import Request, Surroundings

OLDEST: Final = (3, 10)
"""The oldest Python that the package runs on."""
STAGE: Final = "resolving_runtime"


class MuxiPython:
    """MUXI formations as plain processes of this machine."""

    name = "muxi-python"

    def __init__(
        self,
        environments: Environments,
        settings: Callable[[], RuntimeConfig],
        isolation: Callable[[], FormationIsolation],
        cache_dir: Path,
    ) -> None:
        """Look `settings`, and what the operator says of isolation, up at each use."""
        self._environments = environments
        self._settings = settings
        self._isolation = isolation
        self._cache_dir = cache_dir

    async def presence(self) -> Presence:
        try:
            self._require_no_isolation()
            # Interpreters are run, which may take long the first time: whoever looks may leave.
            python = await trio.to_thread.run_sync(self._interpreter, None, abandon_on_cancel=True)
            await trio.to_thread.run_sync(self._environments.check_installer, python)
        except MuxiError as error:
            return Presence(
                self.name, available=False, problem=error.message.rstrip("."), cure=error.cure or ""
            )
        return Presence(self.name, available=True, version=python.number, detail=str(python.path))

    def check(self, program: Program, release_dir: Path) -> None:  # noqa: ARG002 - others look there
        """See `Runtime.check`."""
        self._require_no_isolation(program)
        self._wanted(program)
        self._interpreter(program.python)
        own_variables(program, {})

    async def prepare(self, request: Request) -> Prepared:
        self._require_no_isolation(request.program)
        version, environment = await self._provide(request)
        launcher = await trio.to_thread.run_sync(place_launcher, environment.path)
        return Prepared(
            pin=Pin(runtime=self.name, version=version, artifact=environment.path.name),
            description=f"{self.name} {version}, Python {environment.record.python}",
            spec=partial(self._spec, request, environment, launcher),
            models=self._cache_dir,
        )

    async def _provide(self, request: Request) -> tuple[str, Environment]:
        pin, environments = request.pin, self._environments
        if pin is not None and pin.artifact:
            found = await environments.find(pin.artifact)
            if found is not None:
                return pin.version, found
        wanted = self._wanted(request.program)
        python = await trio.to_thread.run_sync(self._interpreter, request.program.python)
        version = pin.version if pin is not None else await self._resolve(wanted, python, request)
        recipe = environments.recipe(server_requirements(requirement(version)), request.release_dir, python)
        key = pin.artifact if pin is not None and pin.artifact else recipe.key
        found = await environments.find(key)
        if found is None:
            self._may_install(version)
            found = await environments.ensure(recipe, steps(request.report), key=key)
        return version, found

    async def _resolve(self, wanted: Wanted, python: Interpreter, request: Request) -> str:
        """Decide on the newest version that will do; of those here, where the index can't be asked."""
        if wanted.exact is not None:
            return str(wanted.exact)
        here = wanted.best(await trio.to_thread.run_sync(installed_versions, self._environments))
        if not self._settings().auto_download and here is not None:
            return str(here)
        self._may_install(str(wanted))
        try:
            return await self._environments.resolve(
                requirement(wanted), request.release_dir, python, steps(request.report)
            )
        except FormationFailed as error:
            if here is None:
                raise
            request.report(STAGE, f"Taking {here}, which is installed here: {error.message}")
            return str(here)

    def _may_install(self, version: str) -> None:
        if not self._settings().auto_download:
            raise OperatorError(
                f"muxi-runtime {version} is not installed here, and runtime.auto_download is false.",
                code="RuntimeUnavailable",
                status=503,
                stage=STAGE,
                cure="Set runtime.auto_download, or name a version that is installed in `muxi_runtime`.",
            )

    def _wanted(self, program: Program) -> Wanted:
        wanted = parse(program.muxi_runtime or self._settings().version)
        if wanted.variant != LEAN:
            raise RequestError(
                f"The variant '{wanted.variant}' of the MUXI runtime is an image; the package has none.",
                code="RuntimeUnavailable",
                status=501,
                stage=STAGE,
                cure="Install Apptainer or Docker on the server, or ask for the runtime without a variant.",
            )
        return wanted

    def _require_no_isolation(self, program: Program | None = None) -> None:
        """Refuse who asks for a sandbox, or for another user: nobody is left in the belief of having it."""
        said = self._isolation()
        if said.sandbox == "required":
            raise _can_not_be_apart("formations.sandbox is `required`, and it can't be put into one")
        if said.user:
            raise _can_not_be_apart(f"formations.user is '{said.user}', and it runs as the server")
        if program is not None and program.sandbox:
            raise RequestError(
                f"'{program.id}' asks for a sandbox, which the package muxi-runtime can't be put into.",
                code="SandboxUnavailable",
                stage=STAGE,
                cure="Leave `sandbox` out of the manifest, or have it run on Apptainer or Docker, "
                "which keep it apart.",
            )

    def _interpreter(self, wanted: str | None) -> Interpreter:
        finder = self._environments.finder
        found = finder.at_least(OLDEST) if wanted is None else finder.find(wanted)
        if found is None or found.version < OLDEST:
            there = f"Python {found.number} is too old" if found is not None else "no such Python is here"
            raise FormationFailed(
                f"The MUXI runtime needs Python {'.'.join(map(str, OLDEST))} or newer, and {there} "
                f"(PATH: {finder.search_path}).",
                code="PythonNotFound",
                stage=STAGE,
                cure="Install a newer Python on the server.",
            )
        return found

    def _spec(
        self, request: Request, environment: Environment, launcher: Path, around: Surroundings
    ) -> ProcessSpec:
        address = ("--port", str(around.port), "--host", around.host)
        return make_spec(
            request.program,
            around,
            argv=(str(environment.python), str(launcher), str(request.release_dir.absolute()), *address),
            cwd=request.release_dir,
            env=self._variables(request, environment, around),
        )

    def _variables(
        self, request: Request, environment: Environment, around: Surroundings
    ) -> Mapping[str, str]:
        own = own_variables(request.program, around.extra_env)
        # What the runtime itself would set in an image; HF_HUB_CACHE is where `runtime models` puts them.
        offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"} if self._settings().offline else {}
        return {
            **of_environment(environment).variables(around.search_path),
            "HOME": str(request.state_dir),
            "LANG": "C.UTF-8",
            "NO_COLOR": "1",
            "PYTHONUNBUFFERED": "1",
            "MUXI_ENV": "production",
            "HF_HOME": str(self._cache_dir),
            "HF_HUB_CACHE": str(self._cache_dir),
            **offline,
            **own,
            **server_variables(request.program, around),
        }


def _can_not_be_apart(why: str) -> OperatorError:
    return OperatorError(
        f"The MUXI runtime as a package can't be used: {why}.",
        code="SandboxUnavailable",
        status=503,
        stage=STAGE,
        cure="Run MUXI formations on Apptainer or Docker (runtime.preferred), or change that setting.",
    )

"""Images: how they are named, and having one at hand."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Protocol

import msgspec
import trio

from muxi.containers.failures import EngineRefused, image_missing, image_not_pulled
from muxi.containers.pull import PullProgress
from muxi.containers.wire import ImageFacts, PullStep
from muxi.errors import RequestError

if TYPE_CHECKING:
    from muxi.containers.engine import Engine

STALL_SECONDS: Final = 300.0
"""How long an engine that pulls may say nothing: it unpacks large layers in silence."""
TELL_INTERVAL: Final = 1.0

_NAME: Final = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*(?::[0-9]{1,5}(?=/))?(?:/[a-z0-9][a-z0-9._-]*)*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64}))?",
    re.ASCII,
)
_ID: Final = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)


class Tell(Protocol):
    """Is told of a pull's steps: a stage, a message."""

    def __call__(self, stage: str, message: str, **fields: object) -> None: ...


def normal_name(image: str) -> str:
    """Return an image's name with its tag, `latest` where there is none. Raises RequestError (ImageError)."""
    if _ID.fullmatch(image):
        return image
    found = _NAME.fullmatch(image)
    if found is None or len(image) > 512:
        shown = "".join(c if c.isprintable() else "?" for c in image[:80])
        raise RequestError(
            f"'{shown}' is no name of an image.",
            code="ImageError",
            stage="validating",
            cure="Write it as `docker pull` takes it: registry.example/team/agent:1.2, or with @sha256:...",
        )
    return image if found["tag"] or found["digest"] else f"{image}:latest"


def pinned_name(image: str, facts: ImageFacts) -> str:
    """Return a name that is this very image for ever: by digest, so that it could be fetched again.

    One that came from no registry has its id only. Pure.
    """
    if _ID.fullmatch(image):
        return image
    found = _NAME.fullmatch(image)
    if found is None:
        return facts.id
    if found["digest"]:
        return f"{found['name']}@{found['digest']}"
    repository = found["name"]
    for digest in facts.repo_digests or ():
        name, _, value = digest.partition("@")
        if name == repository or name.endswith(f"/{repository}"):
            return f"{repository}@{value}"
    return facts.id


class Images:
    """The images of one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def find(self, image: str) -> ImageFacts | None:
        """Return what the engine knows of an image that it has. Raises EngineUnavailable, EngineRefused."""
        try:
            return await self._engine.get(f"/images/{image}/json", ImageFacts)
        except EngineRefused as error:
            if error.answer == 404:
                return None
            raise

    async def ensure(
        self, image: str, *, pull: str, tell: Tell, stage: str = "pulling_image", platform: str = ""
    ) -> ImageFacts:
        """Have an image at hand; `pull` is `missing`, `always` or `never`.

        Raises OperatorError (PullError), EngineUnavailable, EngineRefused.
        """
        found = None if pull == "always" else await self.find(image)
        if found is not None:
            return found
        if pull == "never":
            raise image_missing(
                image,
                ", and this server is configured not to fetch any",
                f"Load it by hand (docker pull {image}), or allow it: runtime.engine.pull: missing, "
                "runtime.auto_download: true.",
            )
        if _ID.fullmatch(image):
            raise image_missing(
                image, " any more, and no registry has it", "Load it again and deploy the formation again."
            )
        await self._pull(image, tell, stage, platform)
        found = await self.find(image)
        if found is None:
            raise image_not_pulled(image, "the engine does not have it after the pull")
        return found

    async def _pull(self, image: str, tell: Tell, stage: str, platform: str) -> None:
        tell(stage, f"Pulling image {image}...")
        progress, told_at = PullProgress(), trio.current_time()
        params = {"fromImage": image} | ({"platform": platform} if platform else {})
        rest = b""
        try:
            async with self._engine.stream(
                "POST", "/images/create", params=params, seconds=STALL_SECONDS
            ) as pieces:
                with trio.fail_after(STALL_SECONDS) as stall:
                    async for piece in pieces:
                        stall.deadline = trio.current_time() + STALL_SECONDS
                        *lines, rest = (rest + piece).split(b"\n")
                        for step in map(_step, filter(bytes.strip, lines)):
                            if step.error:
                                raise image_not_pulled(image, step.error)
                            news = progress.take(step)
                            if news or trio.current_time() >= told_at + TELL_INTERVAL:
                                tell(stage, f"Pulling image {image}: {progress.text}")
                                told_at = trio.current_time()
        except EngineRefused as error:
            raise image_not_pulled(image, error.said) from error
        except trio.TooSlowError:
            raise image_not_pulled(image, f"no progress for {STALL_SECONDS:g} s") from None
        last = _step(rest) if rest.strip() else None
        if last is not None and last.error:
            raise image_not_pulled(image, last.error)


def _step(line: bytes) -> PullStep:
    try:
        return msgspec.json.decode(line, type=PullStep)
    except msgspec.MsgspecError:
        return PullStep()

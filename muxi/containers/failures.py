"""What can go wrong between us and a container engine, told with its cure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muxi.errors import FormationFailed, MuxiError, OperatorError

if TYPE_CHECKING:
    from muxi.containers.address import Address

SPAWNING = "spawning"


class EngineUnavailable(OperatorError):
    """The engine can't be asked at all: it is not there, does not answer, or does not let us in."""

    def __init__(self, message: str, cure: str) -> None:
        super().__init__(message, code="EngineUnavailable", status=503, cure=cure)


class EngineRefused(OperatorError):
    """The engine answered with an error; `answer` is its HTTP status, `said` its own words."""

    def __init__(self, answer: int, said: str) -> None:
        super().__init__(
            f"The container engine refused: {said}",
            code="EngineError",
            cure="Mend what the engine names; its own log has more.",
        )
        self.answer = answer
        self.said = said


def not_reached(address: Address, why: str) -> EngineUnavailable:
    """Say why nobody answers at an address, and what to do about that."""
    socket = address.socket
    if socket is not None and not socket.exists():
        return EngineUnavailable(
            f"The container engine is not running: there is no socket {socket}.",
            "Start it (systemctl start docker), or correct runtime.engine.address or DOCKER_HOST.",
        )
    if "ermission" in why:
        return EngineUnavailable(
            f"The server may not use the container engine's socket {socket}.",
            "Add the server's user to the socket's group (usermod -aG docker USER, then start the server "
            "anew), or use a rootless engine. Who may use the socket is root on this machine.",
        )
    return EngineUnavailable(
        f"The container engine does not answer at {address}: {why}.",
        "See whether it runs (systemctl status docker) and start it anew.",
    )


def too_slow(address: Address, seconds: float, what: str) -> EngineUnavailable:
    return EngineUnavailable(
        f"The container engine at {address} did not answer within {seconds:g} s ({what}).",
        "See in its log what it is busy with (journalctl -u docker), and start it anew if it hangs.",
    )


def too_old(address: Address, version: str, oldest: str) -> EngineUnavailable:
    return EngineUnavailable(
        f"The container engine at {address} is too old: it speaks version {version or 'unknown'} of its "
        f"API, and {oldest} is the least that is needed.",
        "Install Docker 20.10 or Podman 4.0, or a newer one.",
    )


def image_not_pulled(image: str, said: str) -> OperatorError:
    """Explain what a registry said; the words are its own, which differ from one to the next."""
    low = said.lower()
    if "denied" in low or "unauthorized" in low or "authentication" in low:
        cure = (
            f"Check the name. If it is private, pull it once by hand (docker login, docker pull {image}); "
            "the server uses what the engine has."
        )
    elif "not found" in low or "manifest unknown" in low or "no such image" in low:
        cure = "Check the image's name and tag."
    elif "no matching manifest" in low or "does not match the specified platform" in low:
        cure = "The image is not made for this machine's processor: name one that is."
    elif "no space" in low:
        cure = "Free space on the engine's disk (docker system prune)."
    elif "toomanyrequests" in low or "rate limit" in low:
        cure = "Wait, or log in to the registry (docker login): it limits strangers."
    else:
        cure = (
            "See whether the engine reaches the registry (its proxy and DNS settings are its own), or load "
            "the image by hand: docker load."
        )
    return OperatorError(
        f"The image '{image}' could not be pulled: {said.rstrip('.')}.",
        code="PullError",
        stage="resolving_runtime",
        cure=cure,
    )


def image_missing(image: str, why: str, cure: str) -> OperatorError:
    return OperatorError(
        f"The image '{image}' is not on this machine{why}.",
        code="PullError",
        stage="resolving_runtime",
        cure=cure,
    )


def not_started(error: EngineRefused, image: str, port: int) -> MuxiError:
    """Explain why the engine could not start a container that it had made."""
    low = error.said.lower()
    if "already allocated" in low or "address already in use" in low or "ports are not available" in low:
        return FormationFailed(
            f"Port {port} is in use by another program.",
            code="SpawnError",
            stage=SPAWNING,
            cure="End that program, or choose another `formations.port_range`.",
        )
    if "executable file not found" in low or "no such file or directory" in low:
        return FormationFailed(
            f"The container's program was not found in the image '{image}': {error.said}",
            code="SpawnError",
            stage=SPAWNING,
            cure="Check `command`: is it in the image, and on its PATH?",
        )
    if "no command specified" in low:
        return FormationFailed(
            f"The image '{image}' names no program of its own.",
            code="SpawnError",
            stage=SPAWNING,
            cure="Give the formation a `command`.",
        )
    if "permission denied" in low and "exec" in low:
        return FormationFailed(
            f"The container's program may not be executed: {error.said}",
            code="SpawnError",
            stage=SPAWNING,
            cure="Make the file executable (chmod +x), or name its interpreter in `command`.",
        )
    if "bind source path does not exist" in low or "mounts denied" in low:
        return OperatorError(
            f"The engine does not see the formation's files: {error.said}",
            code="EngineError",
            stage=SPAWNING,
            cure="The engine has to see the server's data directory under the same path: share it with "
            "Docker Desktop, or mount it alike where the server itself is a container.",
        )
    return OperatorError(
        f"The engine could not start the container: {error.said}",
        code="SpawnError",
        stage=SPAWNING,
        cure="Mend what the engine names; its own log has more.",
    )

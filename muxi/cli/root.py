"""The table of commands."""

from __future__ import annotations

from typing import TypedDict

import click

from muxi.cli.lazy import Lazy, LazyGroup

PROGRAM = "muxi-server"


class Settings(TypedDict):
    """What every context of click's is made with."""

    help_option_names: list[str]
    max_content_width: int


SETTINGS: Settings = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

FORMATION = {
    "deploy": Lazy("muxi.cli.deploy", "Deploy a directory as a formation."),
    "update": Lazy("muxi.cli.update", "Update a formation to a directory's files, without an interruption."),
    "rollback": Lazy("muxi.cli.rollback", "Go back to an earlier release."),
    "cancel": Lazy("muxi.cli.operation", "Cancel a deploy, update or rollback under way.", "cancel"),
    "operation": Lazy("muxi.cli.operation", "Show what is being done to a formation.", "operation"),
    "list": Lazy("muxi.cli.listing", "List the formations of the server."),
    "get": Lazy("muxi.cli.detail", "Show one formation."),
    "start": Lazy("muxi.cli.lifecycle", "Start a stopped formation.", "start"),
    "stop": Lazy("muxi.cli.lifecycle", "Stop a formation; it stays deployed.", "stop"),
    "restart": Lazy("muxi.cli.lifecycle", "Stop a formation and start it again.", "restart"),
    "delete": Lazy("muxi.cli.lifecycle", "Stop a formation and remove it with its data.", "delete"),
    "logs": Lazy("muxi.cli.logs", "Show what a formation has printed; -f follows it."),
    "releases": Lazy("muxi.cli.releases", "List the releases of a formation that are kept."),
    "download": Lazy("muxi.cli.download", "Save a formation's files as a zip."),
    "validate": Lazy("muxi.cli.validate", "Check a directory as a deploy would, and deploy nothing."),
    "draft": Lazy("muxi.cli.root", "Edit files on the server, then deploy them.", "draft"),
}

DRAFT = {
    "init": Lazy("muxi.cli.draft", "Begin a draft: a new formation, or a copy of a deployed one.", "init"),
    "list": Lazy("muxi.cli.draft", "List the files of a draft.", "list_files"),
    "get": Lazy("muxi.cli.draft", "Print a file of a draft, or save it.", "get"),
    "put": Lazy("muxi.cli.draft", "Write a file of a draft.", "put"),
    "edit": Lazy("muxi.cli.draft", "Change a file of a draft in your editor.", "edit"),
    "delete": Lazy("muxi.cli.draft", "Remove a file or a directory from a draft.", "delete"),
    "deploy": Lazy("muxi.cli.draft_deploy", "Deploy a draft."),
    "discard": Lazy("muxi.cli.draft", "Throw a draft away.", "discard"),
}

SERVICE = {
    "install": Lazy(
        "muxi.cli.service", "Start the server now, with the machine, and when it ends.", "install"
    ),
    "uninstall": Lazy("muxi.cli.service", "End the service and remove it; data stay.", "uninstall"),
    "status": Lazy("muxi.cli.service", "Say whether the service is installed and runs.", "status"),
}

TELEMETRY = {
    "show": Lazy(
        "muxi.cli.telemetry", "Show whether anonymous counts are reported, and the next report.", "show"
    ),
    "enable": Lazy("muxi.cli.telemetry", "Let all MUXI programs of this user report.", "enable"),
    "disable": Lazy("muxi.cli.telemetry", "Let none of them report anything.", "disable"),
}

CONFIG = {
    "show": Lazy("muxi.cli.config", "Show the settings in force, secrets masked.", "show"),
    "validate": Lazy("muxi.cli.config", "Check the configuration and list every problem.", "validate"),
    "reload": Lazy("muxi.cli.ask", "Let the running server read its configuration again.", "reload"),
}

RUNTIME = {
    "list": Lazy("muxi.cli.runtime_list", "Show what formations can run on here, and what they run on."),
    "install": Lazy("muxi.cli.runtime_install", "Download versions of the runtime, or the code runner."),
    "remove": Lazy("muxi.cli.runtime_remove", "Remove an image that no release needs.", "remove"),
    "prune": Lazy("muxi.cli.runtime_remove", "Remove all that no release needs.", "prune"),
    "pin": Lazy("muxi.cli.runtime_remove", "Keep an image, whatever needs it.", "pin"),
    "models": Lazy("muxi.cli.root", "Download embedding models that formations share.", "models"),
}

MODELS = {
    "list": Lazy(
        "muxi.cli.runtime_models", "Show which models there are, and which are here.", "list_models"
    ),
    "install": Lazy("muxi.cli.runtime_models", "Download models.", "install"),
}

COMMANDS = {
    "init": Lazy("muxi.cli.init", "Make the configuration and its credentials."),
    "start": Lazy("muxi.cli.start", "Run the server (also when no command is given)."),
    "serve": Lazy("muxi.cli.start", "The same as start.", hidden=True),
    "worker": Lazy("muxi.cli.worker", "Proxy for a server on this machine.", hidden=True),
    "status": Lazy("muxi.cli.status", "Show how the running server does."),
    "upgrade": Lazy("muxi.cli.upgrade", "Install the newest release, and let it take over."),
    "formation": Lazy("muxi.cli.root", "Deploy and manage formations.", "formation"),
    "runtime": Lazy("muxi.cli.root", "Show and manage what formations run on.", "runtime"),
    "config": Lazy("muxi.cli.root", "Show, check or reload the configuration.", "config"),
    "service": Lazy("muxi.cli.root", "Run the server as a service of this machine.", "service"),
    "telemetry": Lazy("muxi.cli.root", "Show, allow or forbid anonymous usage reports.", "telemetry"),
    "version": Lazy("muxi.cli.version", "Print the version."),
    "help": Lazy("muxi.cli.help", "Show this, or the help of a command."),
}


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    context_settings={**SETTINGS},
    epilog="--log-level LEVEL (debug, info, warn, error) may stand anywhere.",
)
def root() -> None:
    """Deploy, supervise and proxy AI agent services on this machine."""


@click.group("formation", cls=LazyGroup, lazy=FORMATION)
def formation() -> None:
    """Deploy and manage formations on the server that this machine's configuration names."""


@click.group("draft", cls=LazyGroup, lazy=DRAFT)
def draft() -> None:
    """Edit a formation's files on the server, then deploy them."""


@click.group("runtime", cls=LazyGroup, lazy=RUNTIME)
def runtime() -> None:
    """Show and manage what formations run on, in this machine's data directory; no server need run."""


@click.group("models", cls=LazyGroup, lazy=MODELS)
def models() -> None:
    """Show and download embedding models, which MUXI formations share."""


@click.group("config", cls=LazyGroup, lazy=CONFIG)
def config() -> None:
    """Show or check the configuration, or let the running server read it again."""


@click.group("telemetry", cls=LazyGroup, lazy=TELEMETRY)
def telemetry() -> None:
    """Show, allow or forbid the anonymous counts that the server reports once an hour."""


@click.group("service", cls=LazyGroup, lazy=SERVICE)
def service() -> None:
    """Run the server as a service: systemd, launchd, or the Task Scheduler."""

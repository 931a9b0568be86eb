"""Stands in for Apptainer where there is none: takes the same flags, no others, and behaves as it does.

What it does as the real one (its sources: starter, monitor_linux.go, process_linux.go, env/create.go):
it becomes three processes, of which the middle one dies with the first; signals are passed down from
one to the next; an exit status comes up, a death by a signal as 128 + its number; the program gets
an environment made of APPTAINERENV_* alone. Containment itself it has none: the program is told
by FORMATION_DIR and STATE_DIR where its mounts are.

An image is a file of JSON: {"app": source of the program that stands in for the runtime, "seen": a file
that gets what this has been started with}.
"""

import csv
import ctypes
import json
import os
import pathlib
import posixpath
import signal
import subprocess
import sys
from typing import NoReturn

VERSION = "apptainer version 1.3.4-1.el9"
SWITCHES = {
    "--containall", "--contain", "--cleanenv", "--pid", "--ipc", "--no-privs", "--no-home", "--no-eval",
    "--nv", "--rocm",
}  # fmt: skip
VALUED = {"--workdir", "--pwd", "--mount"}
RUN = ["env", "HOME=/state", "python", "-m", "muxi.runtime.utils.run_formation", "/formation"]
PR_SET_PDEATHSIG = 1


def fatal(text: str) -> None:
    print(f"FATAL:   {text}", file=sys.stderr)
    sys.exit(255)


def parse(words: list[str]) -> tuple[set[str], dict[str, list[str]], list[str]]:
    switches: set[str] = set()
    values: dict[str, list[str]] = {}
    while words and words[0].startswith("-"):
        word = words.pop(0)
        if word in SWITCHES:
            switches.add(word)
        elif word in VALUED and words:
            values.setdefault(word, []).append(words.pop(0))
        else:
            print(f'Error for command "exec": unknown flag: {word}', file=sys.stderr)
            sys.exit(1)
    return switches, values, words


def read_mount(text: str) -> tuple[str, str, bool]:
    found = {"ro": "", "type": "bind"}
    for field in next(csv.reader([text])):
        key, equals, value = field.partition("=")
        if key not in {"type", "source", "destination", "ro"}:
            fatal(f'invalid key "{key}" in mount specification')
        found[key] = value if equals else "yes"
    if not pathlib.Path(found["source"]).exists():
        fatal(f"container creation failed: mount source {found['source']} doesn't exist")
    if not found["destination"].startswith("/"):
        fatal("destination must be an absolute path")
    return found["source"], found["destination"], not found["ro"]


def container_environment() -> dict[str, str]:
    inside = {"LANG": "C", "PATH": "/usr/local/bin:/usr/bin:/bin"}
    given = {name[13:]: value for name, value in os.environ.items() if name.startswith("APPTAINERENV_")}
    for name in ("HOME", "APPTAINER_SHELL"):
        if given.pop(name, None) is not None:
            print(f"WARNING: Overriding {name} environment variable is not permitted", file=sys.stderr)
    first = given.pop("PREPEND_PATH", "")
    inside.update(given)
    inside["PATH"] = f"{first}:{inside['PATH']}" if first else inside["PATH"]
    return inside


def check_links(release: str, targets: set[str]) -> None:
    """Say whether the release's links lead to something that is mounted."""
    for path in pathlib.Path(release).iterdir():
        if path.is_symlink():
            leads = posixpath.normpath(posixpath.join("/formation", str(path.readlink())))
            if posixpath.dirname(leads) not in targets:
                fatal(f"{path.name} leads to {leads}, and nothing is there")


def pass_signals_to(pid: int) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, lambda got, _: os.kill(pid, got))


def outcome(pid: int) -> int:
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return 128 - status if status < 0 else status


def init(argv: list[str], env: dict[str, str]) -> None:
    """Be the first process in the container: dies with the starter, passes signals on."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    app = subprocess.Popen(argv, env=env)
    pass_signals_to(app.pid)
    os._exit(outcome(app.pid))


def main(words: list[str]) -> None:
    if words == ["--version"]:
        print(VERSION)
        return
    if words and words[0] in {"--quiet", "--silent"}:
        words.pop(0)
    if not words or words.pop(0) != "exec":
        fatal("unknown command")
    switches, values, rest = parse(words)
    if not rest or not pathlib.Path(rest[0]).is_file():
        fatal(f"could not open image {rest[:1]}")
    image = json.loads(pathlib.Path(rest.pop(0)).read_text())
    mounts = [read_mount(text) for text in values.get("--mount", [])]
    places = {target: source for source, target, _ in mounts}
    pathlib.Path(image["seen"]).write_text(
        json.dumps({"argv": sys.argv[1:], "env": dict(os.environ), "switches": sorted(switches)})
    )
    if rest == ["skills-rce"]:
        env = {**container_environment(), "RCE_CACHE_DIR": places["/cache/skills"]}
        run([sys.executable, "-I", "-S", "-c", image["app"]], env)
    if rest[: len(RUN)] != RUN:
        fatal(f"exec {rest[:1]} failed")
    if values.get("--pwd") != ["/formation"] or not pathlib.Path(values["--workdir"][0]).is_dir():
        fatal("failed to set working directory")
    check_links(places["/formation"], set(places))
    env = container_environment()
    env.update(HOME="/state", FORMATION_DIR=places["/formation"], STATE_DIR=places["/state"])
    run([sys.executable, "-I", "-S", "-c", image["app"], *rest[len(RUN) :]], env)


def run(argv: list[str], env: dict[str, str]) -> NoReturn:
    child = os.fork()
    if child == 0:
        init(argv, env)
    pass_signals_to(child)
    status = outcome(child)
    if status > 128:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    sys.exit(status)


main(sys.argv[1:])

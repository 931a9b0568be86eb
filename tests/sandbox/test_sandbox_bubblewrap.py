from __future__ import annotations

from pathlib import Path

from muxi.sandbox.bubblewrap import SYSTEM, View, command, is_shown

VIEW = View(
    readable=(Path("/home/a/.venv"), Path("/data/formations/hello/releases/1")),
    writable=(Path("/data/formations/hello/state"),),
    extra=("/models",),
    hidden_files=("/etc/shadow",),
    hidden_directories=("/etc/muxi/server",),
    temporary=Path("/data/sandbox/scratch/hello.8001"),
)
FILTER = Path("/data/sandbox/x86_64.bpf")


def test_the_command_line() -> None:
    made = command(
        "/usr/bin/bwrap", VIEW, FILTER, Path("/data/formations/hello/releases/1"), ("python3", "app.py")
    )
    system = [word for place in (*SYSTEM, "/models") for word in ("--ro-bind-try", place, place)]
    assert list(made) == [
        "/bin/sh", "-c", 'exec "$@" 3<"$0"', "/data/sandbox/x86_64.bpf",
        "/usr/bin/bwrap",
        "--unshare-pid", "--unshare-ipc", "--unshare-cgroup-try",
        "--cap-drop", "ALL",
        "--seccomp", "3",
        "--proc", "/proc", "--dev", "/dev",
        "--bind", "/data/sandbox/scratch/hello.8001", "/tmp",
        "--symlink", "/tmp", "/var/tmp", "--dir", "/run",
        *system,
        "--ro-bind", "/dev/null", "/etc/shadow",
        "--tmpfs", "/etc/muxi/server",
        "--ro-bind", "/home/a/.venv", "/home/a/.venv",
        "--ro-bind", "/data/formations/hello/releases/1", "/data/formations/hello/releases/1",
        "--bind", "/data/formations/hello/state", "/data/formations/hello/state",
        "--remount-ro", "/", "--remount-ro", "/etc/muxi/server",
        "--chdir", "/data/formations/hello/releases/1",
        "--", "python3", "app.py",
    ]  # fmt: skip


def test_without_a_filter_nothing_is_opened() -> None:
    made = command("/usr/bin/bwrap", VIEW, None, Path("/"), ("true",))
    assert made[0] == "/usr/bin/bwrap"
    assert "--seccomp" not in made


def test_the_formation_keeps_its_group_and_outlives_the_server() -> None:
    made = command("/usr/bin/bwrap", VIEW, FILTER, Path("/"), ("true",))
    assert not {"--new-session", "--die-with-parent", "--unshare-net", "--unshare-all"} & set(made)


def test_what_is_shown() -> None:
    assert is_shown(Path("/usr/bin/python3"))
    assert is_shown(Path("/models/a"), ("/models",))
    assert not is_shown(Path("/root/.ssh"))
    assert not is_shown(Path("/var/lib/muxi"))
    assert not is_shown(Path("/usrlocal"))

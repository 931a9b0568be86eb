"""A release: its version, its section of the changelog, its files and their checksums.

python -m build.release current                 the version that this checkout has
python -m build.release version                 the next version
python -m build.release prepare VERSION         write it, and the changelog; fragments are used up
python -m build.release notes VERSION           its section of the changelog
python -m build.release archives DIRECTORY      an archive of each binary, and SHA256SUMS
python -m build.release formula DIRECTORY VERSION
"""

from __future__ import annotations

import datetime
import hashlib
import io
import re
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from build.notices import FILE as NOTICES

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[1]
PREFIX = "muxi-server-"
SUMS = "SHA256SUMS"
PLATFORMS = tuple(
    f"{system}-{arch}" for system in ("linux", "darwin", "windows") for arch in ("amd64", "arm64")
)
#: Keep a Changelog's kinds, in its order (keepachangelog.com).
KINDS = ("added", "changed", "deprecated", "removed", "fixed", "security")
VERSION_LINE = re.compile(r'^__version__ = "(.*)"$', re.MULTILINE)


def next_version(current: str, today: datetime.date) -> str:
    """Return the version after this one (ScalVer: MAJOR.YYYYMMDD.PATCH; PATCH begins anew each day)."""
    major, day, patch = current.split(".")
    stamp = f"{today:%Y%m%d}"
    return f"{major}.{stamp}.{int(patch) + 1 if day == stamp else 0}"


def current_version() -> str:
    """Return the version of this checkout."""
    found = VERSION_LINE.search((ROOT / "muxi" / "__init__.py").read_text("utf-8"))
    assert found is not None
    return found[1]


def binary_name(platform: str) -> str:
    return f"{PREFIX}{platform}" + (".exe" if platform.startswith("windows") else "")


def changelog_section(version: str, today: datetime.date, fragments: Mapping[str, str]) -> str:
    """Return the section of a release. `fragments` are texts by file name. Raises ValueError."""
    sections: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for name, text in sorted(fragments.items()):
        kind = name.removesuffix(".md").rpartition(".")[2]
        if kind not in sections:
            raise ValueError(f"{name}: {kind!r} is no kind of change")
        sections[kind].append("- " + text.strip().replace("\n", "\n  "))
    parts = [f"## [{version}] - {today:%Y-%m-%d}"]
    parts += [f"### {kind.capitalize()}\n\n" + "\n".join(texts) for kind, texts in sections.items() if texts]
    return "\n\n".join(parts) + "\n"


def prepare(root: Path, version: str, today: datetime.date) -> None:
    """Write the version and the changelog's section, and use up the fragments. Raises ValueError."""
    found = {path: path.read_text("utf-8") for path in (root / "newsfragments").glob("*.*.md")}
    section = changelog_section(version, today, {path.name: text for path, text in found.items()})
    changelog = root / "CHANGELOG.md"
    text = changelog.read_text("utf-8")
    head, mark, rest = text.partition("\n## [")
    changelog.write_text(f"{head.rstrip()}\n\n{section}{mark}{rest}", "utf-8")
    module = root / "muxi" / "__init__.py"
    module.write_text(VERSION_LINE.sub(f'__version__ = "{version}"', module.read_text("utf-8")), "utf-8")
    for path in found:
        path.unlink()


def notes(changelog: str, version: str) -> str:
    """Return a version's section without its heading. Raises ValueError if there is none."""
    _, mark, rest = changelog.partition(f"\n## [{version}]")
    if not mark:
        raise ValueError(f"CHANGELOG.md has no section [{version}]")
    return rest.partition("\n")[2].partition("\n## [")[0].strip() + "\n"


def write_archives(directory: Path) -> None:
    """Make an archive of each binary that is there, with the licences, and write all checksums."""
    texts = {"LICENSE": (ROOT / "LICENSE").read_bytes()}
    if (directory / NOTICES).exists():
        texts[NOTICES] = (directory / NOTICES).read_bytes()
    for platform in PLATFORMS:
        binary = directory / binary_name(platform)
        if binary.exists():
            write = _write_zip if binary.suffix == ".exe" else _write_tar
            write(directory / f"{PREFIX}{platform}", {binary.name: binary.read_bytes(), **texts})
    write_sums(directory)


def _write_tar(target: Path, members: Mapping[str, bytes]) -> None:
    with tarfile.open(f"{target}.tar.gz", "w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755 if name.startswith(PREFIX) else 0o644
            archive.addfile(member, io.BytesIO(content))


def _write_zip(target: Path, members: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(f"{target}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def write_sums(directory: Path) -> None:
    """Write the checksums of all files, as `sha256sum -c` reads them."""
    files = sorted(path for path in directory.iterdir() if path.is_file() and path.name != SUMS)
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    (directory / SUMS).write_text("".join(lines))


def formula(template: str, version: str, sums: str) -> str:
    """Fill in Homebrew's formula. Raises KeyError for a platform without a checksum."""
    known = {name: digest for digest, name in (line.split() for line in sums.splitlines())}
    text = template.replace("{version}", version)
    for platform in re.findall(r'sha256 "\{(.*)\}"', template):
        text = text.replace(f"{{{platform}}}", known[binary_name(platform)])
    return text


def main(arguments: list[str]) -> int:
    """Run from the command line."""
    today = datetime.datetime.now(datetime.UTC).date()
    match arguments:
        case ["current"]:
            print(current_version())
        case ["version"]:
            print(next_version(current_version(), today))
        case ["prepare", version]:
            prepare(ROOT, version, today)
        case ["notes", version]:
            print(notes((ROOT / "CHANGELOG.md").read_text("utf-8"), version), end="")
        case ["archives", directory]:
            write_archives(Path(directory))
        case ["formula", directory, version]:
            template = (ROOT / "install" / "homebrew.rb").read_text("utf-8")
            print(formula(template, version, (Path(directory) / SUMS).read_text()), end="")
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Which version is meant, having it here, and what stays: with a mirror that really answers."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
import trio

from muxi.download.failure import DownloadError
from muxi.errors import Conflict, NotFound, OperatorError, RequestError, StorageError
from muxi.images.mirror import addresses, releases_of
from muxi.images.store import Resolved
from muxi.images.versions import Version
from muxi.locks import held
from tests.download.serving import says, sha256

if TYPE_CHECKING:
    from pathlib import Path

    from tests.images.conftest import Shop

SIF = b"an image" * 1000
OTHER = b"another image" * 1000
DAY = 86_400


def name(version: str, variant: str = "") -> str:
    return f"muxi-runtime-{version}{variant and '-' + variant}-linux-amd64.sif"


def put(shop: Shop, version: str, content: bytes = SIF, variant: str = "", form: str = "{v}/") -> str:
    return shop.mirror.put(f"/{form.format(v=version)}{name(version, variant)}", content)


def place(shop: Shop, version: str, content: bytes = SIF, variant: str = "") -> Path:
    """Put an image there by hand, as a user may."""
    path = shop.data / "runtimes" / name(version, variant)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


def registry(shop: Shop) -> dict[str, dict[str, object]]:
    found = json.loads((shop.data / "runtimes" / "registry.json").read_text())
    assert isinstance(found, dict)
    return found


def age(shop: Shop) -> None:
    """Let an hour pass since anything was asked for."""
    known = registry(shop)
    for record in known.values():
        record["used_at"] = "2020-01-01T00:00:00Z"
    (shop.data / "runtimes" / "registry.json").write_text(json.dumps(known))


async def test_latest_is_what_the_mirror_says(shop: Shop) -> None:
    shop.mirror.put("/latest.txt", b"1.20260928.0\n")
    found = await shop.store.resolve("latest:cuda")
    assert (str(found), found.version, found.variant) == ("1.20260928.0:cuda", "1.20260928.0", "cuda")
    assert found.reason == "the latest on the mirror"
    assert Resolved.read(str(found)) == Resolved("1.20260928.0", "cuda")


async def test_an_exact_version_asks_nobody(shop: Shop) -> None:
    assert str(await shop.store.resolve("1.2.3")) == "1.2.3"
    assert shop.mirror.seen == []


async def test_a_part_of_a_version_is_looked_up_in_the_list(shop: Shop) -> None:
    shop.mirror.put("/versions.txt", b"1.9.2\nv1.10.0\n# a comment\n1.9.12\n2.0.0\n")
    assert (await shop.store.resolve("1")).version == "1.10.0"
    assert (await shop.store.resolve("1.9")).version == "1.9.12"
    with pytest.raises(RequestError, match=r"runtime is 3; .*: 2.0.0, 1.10.0, 1.9.12, 1.9.2\.") as raised:
        await shop.store.resolve("3")
    assert raised.value.code == "ResolveError"


async def test_a_mirror_without_a_list_has_its_latest_and_what_is_here(shop: Shop) -> None:
    shop.mirror.put("/latest.txt", b"2.1.0")
    place(shop, "1.4.0")
    assert (await shop.store.resolve("2")).version == "2.1.0"
    assert (await shop.store.resolve("1")).version == "1.4.0"


async def test_without_a_network_what_is_installed_will_do(shop: Shop) -> None:
    for version in ("1.9.0", "1.10.0"):
        place(shop, version)
    place(shop, "3.0.0", variant="cuda")
    shop.close()
    found = await shop.store.resolve(None)
    assert found.version == "1.10.0"
    assert "could not be asked" in found.reason
    assert (await shop.store.resolve("1.9")).version == "1.9.0"
    with pytest.raises(DownloadError) as raised:
        await shop.store.resolve("latest:pytorch")
    assert raised.value.stage == "resolving_runtime"


async def test_nothing_is_asked_where_nothing_may_be_downloaded(shop: Shop) -> None:
    place(shop, "1.9.0")
    shop.set(auto_download=False)
    assert (await shop.store.resolve("1")).version == "1.9.0"
    assert (await shop.store.ensure("1.9.0")).name == name("1.9.0")
    with pytest.raises(RequestError, match=r"installed are: 1\.9\.0"):
        await shop.store.resolve("2")
    with pytest.raises(OperatorError, match="downloads none by itself") as raised:
        await shop.store.ensure("2.0.0")
    assert (raised.value.code, raised.value.status) == ("RuntimeNotInstalled", 503)
    assert "muxi-server runtime install 2.0.0" in (raised.value.cure or "")
    assert shop.mirror.seen == []


async def test_the_configuration_says_what_none_is(shop: Shop) -> None:
    shop.set(version="1.5.2:cuda")
    assert str(await shop.store.resolve(None)) == "1.5.2:cuda"
    assert str(await shop.store.resolve(":lean")) == "1.5.2"
    shop.mirror.put("/latest.txt", b"2.0.0")
    assert str(await shop.store.resolve("latest")) == "2.0.0"


@pytest.mark.parametrize("form", ["{v}/", "v{v}/", ""])
async def test_three_forms_of_mirrors(form: str, shop: Shop) -> None:
    put(shop, "1.2.3", form=form)
    path = await shop.store.ensure("1.2.3")
    assert path.read_bytes() == SIF
    assert path.stat().st_mode & 0o777 == 0o755


def test_where_a_file_of_a_release_page_is() -> None:
    github = "https://github.com/muxi-ai/runtime/releases/download"
    assert addresses(github, Version(1, 2, 3), "x")[0] == f"{github}/v1.2.3/x"
    assert releases_of(github) == "https://github.com/muxi-ai/runtime/releases"
    assert releases_of("https://pkg.muxi.org/runtime") == "https://github.com/muxi-ai/runtime/releases"
    assert releases_of("https://mirror.example/runtime") is None


async def test_latest_by_where_a_releases_page_leads(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    from muxi.images import mirror

    there = {"Location": "https://example.com/o/r/releases/download/v1.20260928.3/version.txt"}
    shop.mirror.put("/latest/download/version.txt", b"", says(302, there))
    monkeypatch.setattr(mirror, "releases_of", lambda base: base)
    assert (await shop.store.resolve("latest")).version == "1.20260928.3"
    assert [asked.method for asked in shop.mirror.seen] == ["GET", "HEAD"]


async def test_what_is_here_is_not_asked_for(shop: Shop) -> None:
    put(shop, "1.2.3")
    await shop.store.ensure("1.2.3")
    asked = len(shop.mirror.seen)
    assert (await shop.store.ensure("1.2.3")).read_bytes() == SIF
    assert len(shop.mirror.seen) == asked
    shop.close()
    assert (await shop.store.ensure("1.2.3")).read_bytes() == SIF


async def test_another_process_that_hangs_is_not_waited_for_for_ever(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("muxi.images.store.LOCK_SECONDS", 0.05)
    path = place(shop, "1.2.3")
    async with held(path.with_name(".lock")):
        with pytest.raises(OperatorError, match="Another process") as caught:
            await shop.store.ensure("1.2.3")
        assert caught.value.cure
    assert await shop.store.ensure("1.2.3") == path


async def test_the_registry_is_the_originals(shop: Shop) -> None:
    put(shop, "1.2.3", OTHER, "cuda")
    path = await shop.store.ensure("1.2.3", "cuda")
    record = registry(shop)["1.2.3:cuda"]
    assert {"version", "hash", "path", "size", "downloaded_at", "formations"} <= record.keys()
    assert (record["hash"], record["size"], record["path"]) == (sha256(OTHER), len(OTHER), str(path))


async def test_a_registry_of_the_original_is_read(shop: Shop) -> None:
    path = place(shop, "1.2.3")
    record = {
        "version": "1.2.3",
        "hash": f"sha256:{sha256(SIF)}",
        "path": str(path),
        "size": len(SIF),
        "downloaded_at": "2026-01-01T00:00:00Z",
        "formations": None,
    }
    (path.parent / "registry.json").write_text(json.dumps({"1.2.3": record}))
    (image,) = await shop.store.installed()
    assert (image.name, image.sha256, image.downloaded_at) == ("1.2.3", sha256(SIF), "2026-01-01T00:00:00Z")


async def test_a_damaged_registry_is_set_aside_and_the_images_stay(shop: Shop) -> None:
    path = place(shop, "1.2.3")
    (path.parent / "registry.json").write_text("{ half")
    assert (await shop.store.ensure("1.2.3")) == path
    assert len(list(path.parent.glob("registry.json.damaged-*"))) == 1
    assert registry(shop)["1.2.3"]["hash"] == sha256(SIF)


async def test_a_file_that_has_shrunk_is_fetched_anew(shop: Shop) -> None:
    put(shop, "1.2.3")
    path = await shop.store.ensure("1.2.3")
    os.truncate(path, 100)
    assert await shop.store.installed() == []
    assert (await shop.store.ensure("1.2.3")).read_bytes() == SIF


async def test_a_published_checksum_counts(shop: Shop) -> None:
    url = put(shop, "1.2.3")
    shop.mirror.put(f"/1.2.3/{name('1.2.3')}.sha256", f"{sha256(SIF)}  {name('1.2.3')}\n".encode())
    assert (await shop.store.ensure("1.2.3")).read_bytes() == SIF
    put(shop, "1.2.4")
    shop.mirror.put(f"/1.2.4/{name('1.2.4')}.sha256", f"{sha256(OTHER)} *{name('1.2.4')}\n".encode())
    with pytest.raises(DownloadError, match="not what its publisher says"):
        await shop.store.ensure("1.2.4")
    assert [image.name for image in await shop.store.installed()] == ["1.2.3"]
    assert url


async def test_what_a_pin_keeps_is_held_to(shop: Shop) -> None:
    put(shop, "1.2.3", OTHER)
    image = await shop.store.have("1.2.3")
    assert image.sha256 == sha256(OTHER)
    with pytest.raises(OperatorError, match="not the one that the release ran on") as raised:
        await shop.store.ensure("1.2.3", sha256=sha256(SIF))
    assert raised.value.code == "ChecksumMismatch"


async def test_what_no_mirror_has(shop: Shop) -> None:
    with pytest.raises(DownloadError, match=r"no muxi-runtime-9\.9\.9-cuda") as raised:
        await shop.store.ensure("9.9.9", "cuda")
    assert raised.value.missing


@pytest.mark.parametrize("version", ["latest", "1", "x", "../../etc/passwd"])
async def test_only_exact_versions_are_fetched(version: str, shop: Shop) -> None:
    with pytest.raises(RequestError):
        await shop.store.ensure(version)
    assert shop.mirror.seen == []


async def test_progress_has_whole_percents_and_no_password(shop: Shop) -> None:
    put(shop, "1.2.3")
    shop.set(sif_base_url=shop.mirror.base.replace("http://", "http://user:CANARY@"))
    told: list[tuple[str, str, dict[str, object]]] = []
    await shop.store.ensure(
        "1.2.3", report=lambda stage, message, **fields: told.append((stage, message, fields))
    )
    assert {stage for stage, _, _ in told} == {"downloading_sif"}
    assert told[-1][2]["progress"] == 100
    assert {type(fields["progress"]) for _, _, fields in told} == {int}
    assert told[0][2]["version"] == "1.2.3"
    assert "CANARY" not in str(told)


async def test_two_want_the_same_at_once(shop: Shop) -> None:
    put(shop, "1.2.3")
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(shop.store.ensure, "1.2.3")
    path = f"/1.2.3/{name('1.2.3')}"
    whole = [asked for asked in shop.mirror.asked(path) if "range" not in asked.fields]
    assert len(whole) == 1


async def test_what_a_release_or_the_operator_keeps_is_not_removed(shop: Shop) -> None:
    for version in ("1.2.3", "1.2.4", "1.2.5"):
        place(shop, version)
        await shop.store.ensure(version)
    await shop.store.pin("1.2.4")
    with pytest.raises(Conflict, match="a release is pinned to it"):
        await shop.store.remove("1.2.3", {"1.2.3"})
    with pytest.raises(Conflict, match="it is pinned") as raised:
        await shop.store.remove("1.2.4")
    assert "pin --off 1.2.4" in (raised.value.cure or "")
    with pytest.raises(NotFound, match=r"installed: 1\.2\.5, 1\.2\.4, 1\.2\.3"):
        await shop.store.remove("1.2.9")
    await shop.store.remove("1.2.3", {"1.2.3"}, force=True)
    age(shop)
    assert [image.name for image in await shop.store.prunable({"1.2.5"})] == []
    await shop.store.pin("1.2.4", pinned=False)
    age(shop)
    images, paths = await shop.store.prune({"1.2.5"})
    assert ([image.name for image in images], paths) == (["1.2.4"], [])
    assert [image.name for image in await shop.store.installed()] == ["1.2.5"]
    assert set(registry(shop)) == {"1.2.5"}


async def test_what_was_asked_for_a_moment_ago_is_not_pruned(shop: Shop) -> None:
    """A deploy has it by now, and has not yet written down that it runs on it."""
    put(shop, "1.2.3")
    await shop.store.ensure("1.2.3")
    assert await shop.store.prune(()) == ([], [])
    age(shop)
    await shop.store.ensure("1.2.3")
    assert await shop.store.prune(()) == ([], [])
    age(shop)
    assert len((await shop.store.prune(()))[0]) == 1


async def test_what_is_left_of_old_downloads_is_pruned(shop: Shop) -> None:
    place(shop, "1.2.3")
    await shop.store.ensure("1.2.3")
    directory = shop.data / "runtimes"
    old, new, foreign = (directory / f"{n}" for n in ("a.sif.part", "b.sif.part", "notes.txt"))
    for path in (old, new, foreign):
        path.write_text("")
    for path in (old, foreign):
        os.utime(path, (0, 0))
    assert await shop.store.leftovers() == [old]
    assert (await shop.store.prune({"1.2.3"}))[1] == [old]
    assert not old.exists()
    assert new.exists()
    assert foreign.exists()


async def test_a_directory_that_is_none(shop: Shop) -> None:
    (shop.data / "runtimes").write_text("")
    with pytest.raises(StorageError):
        await shop.store.ensure("1.2.3")

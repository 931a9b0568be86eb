"""Downloads from a real server that behaves as badly as servers do."""

from __future__ import annotations

import errno
import os
import ssl
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
import trustme

from muxi.download import downloader as downloader_module
from muxi.download import part as part_module
from muxi.download import retry, transfer
from muxi.download.downloader import Downloader
from muxi.download.failure import DownloadError
from muxi.download.ranges import Origin
from muxi.errors import StorageError
from muxi.locks import held
from tests.download.serving import QUICK, TRUST, Asked, Handler, head, running, says, sha256, silence
from tests.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from muxi.config.download import DownloadConfig
    from muxi.download.progress import Progress

CONTENT = bytes(range(256)) * 1200  # 300 KB
OTHER = CONTENT[::-1]


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(retry, "LONGEST_WISH", 0.001)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def downloader(
    settings: DownloadConfig = QUICK, *, reserve: int = 0, trust: ssl.SSLContext | None = TRUST
) -> Downloader:
    return Downloader(lambda: settings, lambda: reserve, trust)


def leftovers(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


async def test_a_file_comes_whole_with_its_mode_and_its_hash_is_kept(tmp_path: Path) -> None:
    told: list[Progress] = []
    async with running() as mirror:
        url = mirror.put("/a.sif", CONTENT)
        target = await downloader().fetch(url, tmp_path / "x" / "a.sif", mode=0o755, report=told.append)
    assert target.read_bytes() == CONTENT
    assert target.stat().st_mode & 0o777 == 0o755
    assert leftovers(target.parent) == {"a.sif", ".a.sif.sha256"}
    assert (target.parent / ".a.sif.sha256").read_text() == f"{sha256(CONTENT)}  a.sif\n"
    assert (told[-1].done, told[-1].total, told[-1].percent) == (len(CONTENT), len(CONTENT), 100)


async def test_what_is_there_already_is_not_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(CONTENT)
    async with running() as mirror:
        await downloader().fetch(mirror.base + "/a", tmp_path / "a", sha256=sha256(CONTENT))
        assert mirror.seen == []


async def test_what_is_there_and_is_another_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(OTHER)
    async with running() as mirror:
        await downloader().fetch(mirror.put("/a", CONTENT), tmp_path / "a", sha256=sha256(CONTENT).upper())
    assert (tmp_path / "a").read_bytes() == CONTENT


async def test_a_cut_is_gone_on_with(tmp_path: Path) -> None:
    async with running() as mirror:
        url = mirror.put("/a", CONTENT)
        mirror.script["/a"] = [mirror.cut(100_000), mirror.cut(50_000)]
        await downloader().fetch(url, tmp_path / "a")
        assert [asked.start for asked in mirror.seen] == [0, 100_000, 150_000]
        assert mirror.seen[1].fields["if-range"].startswith('"')
    assert (tmp_path / "a").read_bytes() == CONTENT


async def test_a_later_server_goes_on_where_one_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "BUFFER", 1)
    async with running() as mirror:
        url = mirror.put("/a", CONTENT)
        mirror.script["/a"] = [mirror.stall(100_000)]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(downloader().fetch, url, tmp_path / "a")
            part = tmp_path / "a.part"
            await until(lambda: part.exists() and part.stat().st_size == 100_000)
            nursery.cancel_scope.cancel()
        assert leftovers(tmp_path) == {"a.part", "a.part.json"}
        assert (tmp_path / "a.part.json").stat().st_mode & 0o777 == 0o600
        await downloader().fetch(url, tmp_path / "a")
        assert [asked.start for asked in mirror.seen] == [0, 100_000]
    assert (tmp_path / "a").read_bytes() == CONTENT


async def test_what_was_not_surely_on_the_disk_is_fetched_again(tmp_path: Path) -> None:
    """After a power cut the last blocks may be zeros."""
    async with running() as mirror:
        url = mirror.put("/a", CONTENT)
        mirror.script["/a"] = [mirror.cut(100_000), *[says(404)]]
        with pytest.raises(DownloadError):
            await downloader().fetch(url, tmp_path / "a")
        with (tmp_path / "a.part").open("ab") as file:
            file.write(b"\0" * 50_000)
        await downloader().fetch(url, tmp_path / "a")
        assert mirror.seen[-1].start == 100_000
    assert (tmp_path / "a").read_bytes() == CONTENT


async def test_a_part_of_another_url_is_thrown_away(tmp_path: Path) -> None:
    async with running() as mirror:
        mirror.put("/a", OTHER)
        mirror.script["/a"] = [mirror.cut(100_000), says(404)]
        with pytest.raises(DownloadError):
            await downloader().fetch(mirror.base + "/a", tmp_path / "a")
        await downloader().fetch(mirror.put("/b", CONTENT), tmp_path / "a")
        assert mirror.seen[-1].start == 0
    assert (tmp_path / "a").read_bytes() == CONTENT


async def test_a_file_that_changes_between_two_ranges_is_fetched_anew(tmp_path: Path) -> None:
    async with running() as mirror:
        url = mirror.put("/a", OTHER)
        mirror.script["/a"] = [mirror.cut(100_000)]
        changed = mirror.script["/a"]

        async def change(asked: Asked, stream: trio.abc.Stream) -> None:
            mirror.files["/a"] = CONTENT
            await mirror.plain(asked, stream)

        changed.append(change)
        await downloader().fetch(url, tmp_path / "a")
        assert [asked.start for asked in mirror.seen] == [0, 100_000]
    assert (tmp_path / "a").read_bytes() == CONTENT


async def test_a_server_that_ignores_the_condition_is_found_out(tmp_path: Path) -> None:
    """It sends the rest of the new file for the old one's: its ETag, or the hash, tells."""
    async with running() as mirror:
        url = mirror.put("/a", OTHER)

        async def change(asked: Asked, stream: trio.abc.Stream) -> None:
            mirror.files["/a"] = CONTENT
            careless = Asked(asked.method, asked.path, {"range": asked.fields["range"]})
            await mirror.plain(careless, stream)

        mirror.script["/a"] = [mirror.cut(100_000), change]
        await downloader().fetch(url, tmp_path / "a")
        mirror.etags, mirror.files["/b"] = False, OTHER
        mirror.script["/b"] = [mirror.cut(100_000), change_to(mirror.files, "/b", CONTENT, mirror.plain)]
        await downloader().fetch(mirror.base + "/b", tmp_path / "b", sha256=sha256(CONTENT))
        assert [asked.start for asked in mirror.asked("/b")] == [0, 100_000, 0]
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert (tmp_path / "b").read_bytes() == CONTENT


def change_to(files: dict[str, bytes], path: str, content: bytes, plain: Handler) -> Handler:
    async def handler(asked: Asked, stream: trio.abc.Stream) -> None:
        files[path] = content
        await plain(asked, stream)

    return handler


async def test_a_server_without_ranges_sends_it_all_again(tmp_path: Path) -> None:
    async with running() as mirror:
        mirror.ranges = False
        url = mirror.put("/a", CONTENT)
        mirror.script["/a"] = [mirror.cut(100_000)]
        await downloader().fetch(url, tmp_path / "a")
        assert mirror.seen[-1].start == 100_000
    assert (tmp_path / "a").read_bytes() == CONTENT


async def test_without_anything_to_tell_a_part_by_no_range_is_asked_for(tmp_path: Path) -> None:
    async with running() as mirror:
        mirror.etags = False
        url = mirror.put("/a", CONTENT)
        mirror.script["/a"] = [mirror.cut(100_000)]
        await downloader().fetch(url, tmp_path / "a")
        assert "range" not in mirror.seen[-1].fields
    assert (tmp_path / "a").read_bytes() == CONTENT


async def test_all_of_it_was_there_but_the_name(tmp_path: Path) -> None:
    """Killed between the last byte and the rename: the server has nothing after it (416)."""
    async with running() as mirror:
        url = mirror.put("/a", CONTENT)
        part = part_module.Part(tmp_path / "a")
        part.open(url)
        part.begin(Origin(url=url, etag=f'"{sha256(CONTENT)[:16]}"', size=len(CONTENT)))
        part.append(CONTENT)
        part.sync()
        part.close()
        await downloader().fetch(url, tmp_path / "a")
        assert [asked.start for asked in mirror.seen] == [len(CONTENT)]
    assert (tmp_path / "a").read_bytes() == CONTENT


async def test_a_stall_is_ended_and_gone_on_after(tmp_path: Path) -> None:
    async with running() as mirror:
        url = mirror.put("/a", CONTENT)
        mirror.script["/a"] = [mirror.stall(100_000)]
        await downloader(replace(QUICK, stall_timeout=0.2)).fetch(url, tmp_path / "a")
        assert mirror.seen[-1].start == 100_000
    assert (tmp_path / "a").read_bytes() == CONTENT


async def test_a_server_that_takes_the_request_and_says_nothing(tmp_path: Path) -> None:
    async with running() as mirror:
        url = mirror.put("/a", CONTENT, silence, silence)
        settings = replace(QUICK, connect_timeout=0.1, first_byte_timeout=0.1, retries=1)
        with pytest.raises(
            DownloadError, match=r"\(2 tries\): the server did not answer within 0.2 s"
        ) as raised:
            await downloader(settings).fetch(url, tmp_path / "a")
    assert raised.value.cure
    assert leftovers(tmp_path) <= {"a.part"}


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_a_server_that_is_busy_is_asked_again(status: int, tmp_path: Path) -> None:
    async with running() as mirror:
        url = mirror.put("/a", CONTENT, says(status, {"Retry-After": "0"}), says(status))
        await downloader().fetch(url, tmp_path / "a")
        assert len(mirror.seen) == 3
    assert (tmp_path / "a").read_bytes() == CONTENT


async def test_it_is_not_asked_for_ever(tmp_path: Path) -> None:
    async with running() as mirror:
        url = mirror.put("/a", CONTENT, *[says(503)] * 9)
        with pytest.raises(DownloadError, match=r"4 tries.*answered 503"):
            await downloader().fetch(url, tmp_path / "a")
        assert len(mirror.seen) == 4
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(("status", "missing"), [(404, True), (410, True), (403, True), (401, False)])
async def test_a_refusal_is_not_asked_again(*, status: int, missing: bool, tmp_path: Path) -> None:
    async with running() as mirror:
        url = mirror.put("/a", CONTENT, says(status))
        with pytest.raises(DownloadError, match=str(status)) as raised:
            await downloader().fetch(url, tmp_path / "a")
        assert len(mirror.seen) == 1
        assert raised.value.missing is missing
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("length", [len(CONTENT) + 500, len(CONTENT) * 1000])
async def test_a_length_that_never_comes_is_found(length: int, tmp_path: Path) -> None:
    async with running() as mirror:
        lie = says(200, {"Content-Length": str(length)}, CONTENT)
        url = mirror.put("/a", CONTENT, lie, lie, lie, lie)
        with pytest.raises(DownloadError, match="cut it off"):
            await downloader().fetch(url, tmp_path / "a")
    assert not (tmp_path / "a").exists()


async def test_a_length_that_is_not_the_expected_one_is_refused_at_once(tmp_path: Path) -> None:
    async with running() as mirror:
        url = mirror.put("/a", CONTENT)
        with pytest.raises(DownloadError, match="300,000 were expected") as raised:
            await downloader().fetch(url, tmp_path / "a", size=300_000)
        assert len(mirror.seen) == 1
    assert raised.value.code == "SizeMismatch"


async def test_a_body_that_goes_on_after_what_was_expected(tmp_path: Path) -> None:
    async with running() as mirror:
        chunk = b"%x\r\n%s\r\n" % (len(CONTENT), CONTENT)
        endless = says(200, {"Transfer-Encoding": "chunked"}, chunk * 3)
        url = mirror.put("/a", CONTENT, *[endless] * 4)
        with pytest.raises(DownloadError, match="more came"):
            await downloader().fetch(url, tmp_path / "a", size=len(CONTENT))
    assert not (tmp_path / "a").exists()


async def test_chunks_that_end_are_whole_and_those_that_are_cut_are_not(tmp_path: Path) -> None:
    async with running() as mirror:
        chunk = b"%x\r\n%s\r\n" % (len(CONTENT), CONTENT)
        cut = says(200, {"Transfer-Encoding": "chunked"}, chunk)
        whole = says(200, {"Transfer-Encoding": "chunked"}, chunk + b"0\r\n\r\n")
        await downloader().fetch(mirror.put("/a", CONTENT, cut, whole), tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT


async def test_a_body_whose_end_can_not_be_told_is_refused(tmp_path: Path) -> None:
    async def until_closed(asked: Asked, stream: trio.abc.Stream) -> None:
        await stream.send_all(head(200, {}) + CONTENT)

    async with running() as mirror:
        url = mirror.put("/a", CONTENT, until_closed, until_closed)
        with pytest.raises(DownloadError, match="does not say how long"):
            await downloader().fetch(url, tmp_path / "a")
        await downloader().fetch(url, tmp_path / "a", sha256=sha256(CONTENT))
    assert (tmp_path / "a").read_bytes() == CONTENT


async def test_a_wrong_checksum_is_an_error_and_no_file(tmp_path: Path) -> None:
    async with running() as mirror:
        url = mirror.put("/a", OTHER)
        with pytest.raises(DownloadError, match="not what its publisher says") as raised:
            await downloader().fetch(url, tmp_path / "a", sha256=sha256(CONTENT))
        assert len(mirror.seen) == 1
    assert raised.value.code == "ChecksumMismatch"
    assert leftovers(tmp_path) == set()


async def test_a_file_that_is_another_than_at_first_sight(tmp_path: Path) -> None:
    async with running() as mirror:
        url = mirror.put("/a", CONTENT)
        await downloader().fetch(url, tmp_path / "a")
        (tmp_path / "a").unlink()
        mirror.files["/a"] = OTHER
        with pytest.raises(DownloadError, match="when it was first downloaded") as raised:
            await downloader().fetch(url, tmp_path / "a")
        assert str(tmp_path / ".a.sha256") in (raised.value.cure or "")
        assert leftovers(tmp_path) == {".a.sha256"}
        (tmp_path / ".a.sha256").unlink()
        await downloader().fetch(url, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == OTHER


async def test_redirections_are_followed_with_the_range_and_no_further_than_some(tmp_path: Path) -> None:
    async with running() as mirror:
        mirror.put("/a", CONTENT)
        mirror.script["/a"] = [mirror.cut(100_000)]
        mirror.put("/from", b"", says(302, {"Location": "/a"}), says(307, {"Location": f"{mirror.base}/a"}))
        await downloader().fetch(mirror.base + "/from", tmp_path / "a")
        assert [asked.start for asked in mirror.asked("/a")] == [0, 100_000]
        loop = says(302, {"Location": "/loop"})
        with pytest.raises(DownloadError, match="leads on and on"):
            await downloader().fetch(mirror.put("/loop", b"", *[loop] * 20), tmp_path / "b")
        assert len(mirror.asked("/loop")) == 9
    assert (tmp_path / "a").read_bytes() == CONTENT


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://example.com/x"])
async def test_a_redirection_to_elsewhere_is_refused(location: str, tmp_path: Path) -> None:
    async with running() as mirror:
        url = mirror.put("/a", b"", says(302, {"Location": location}))
        with pytest.raises(DownloadError, match="not safe to follow"):
            await downloader().fetch(url, tmp_path / "a")
    assert not (tmp_path / "a").exists()


async def test_https_is_never_left_for_http_and_its_certificate_counts(tmp_path: Path) -> None:
    authority = trustme.CA()
    server, client = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)
    async with running() as plain, running(server) as safe:
        there = plain.put("/a", CONTENT)
        safe.put("/down", b"", says(302, {"Location": there}))
        with pytest.raises(DownloadError, match="not safe to follow"):
            await downloader(trust=client).fetch(safe.base + "/down", tmp_path / "a")
        assert plain.seen == []
        await downloader(trust=client).fetch(safe.put("/b", CONTENT), tmp_path / "b")
        with pytest.raises(DownloadError, match="is not trusted") as raised:
            await downloader(trust=None).fetch(safe.put("/c", CONTENT), tmp_path / "c")
    assert "SSL_CERT_FILE" in (raised.value.cure or "")
    assert (tmp_path / "b").read_bytes() == CONTENT


async def test_many_wait_for_one_download(tmp_path: Path) -> None:
    told: list[list[Progress]] = [[], [], []]
    async with running() as mirror:
        url = mirror.put("/a", CONTENT)
        one = downloader()
        async with trio.open_nursery() as nursery:
            for reports in told:
                nursery.start_soon(partial(one.fetch, url, tmp_path / "a", report=reports.append))
        assert len(mirror.seen) == 1
    assert all(reports[-1].done == len(CONTENT) for reports in told)


async def test_many_wait_for_one_failure(tmp_path: Path) -> None:
    async with running() as mirror:
        url = mirror.put("/a", CONTENT)
        one, failures = downloader(), list[DownloadError]()

        async def wait() -> None:
            try:
                await one.fetch(url, tmp_path / "a", sha256=sha256(OTHER))
            except DownloadError as error:
                failures.append(error)

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(wait)
        assert len(mirror.seen) == 1
        assert [error.code for error in failures] == ["ChecksumMismatch"] * 3
        failures[0].details["operation"] = "mine"
        assert failures[1].details == {}
        assert (failures[1].cure, str(failures[1])) == (failures[0].cure, str(failures[0]))


async def test_whoever_waits_goes_on_when_the_first_is_cancelled(tmp_path: Path) -> None:
    async with running() as mirror:
        url = mirror.put("/a", CONTENT)
        begun = trio.Event()
        mirror.script["/a"] = [mirror.stall(100_000, begun)]
        one, first = downloader(), trio.CancelScope()

        async def leave() -> None:
            with first:
                await one.fetch(url, tmp_path / "a")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(leave)
            await begun.wait()
            nursery.start_soon(one.fetch, url, tmp_path / "a")
            await trio.testing.wait_all_tasks_blocked(0.02)
            first.cancel()
        assert len(mirror.seen) == 2
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert leftovers(tmp_path) == {"a", ".a.sha256"}


async def test_two_downloaders_as_two_processes_fetch_it_once(tmp_path: Path) -> None:
    async with running() as mirror:
        url = mirror.put("/a", CONTENT)
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(downloader().fetch, url, tmp_path / "a")
        assert len(mirror.seen) == 1
    assert leftovers(tmp_path) == {"a", ".a.sha256"}


async def test_no_space_is_seen_before_a_byte_is_written(tmp_path: Path) -> None:
    async with running() as mirror:
        url = mirror.put("/a", CONTENT)
        with pytest.raises(StorageError, match="too full to download a") as raised:
            await downloader(reserve=1 << 60).fetch(url, tmp_path / "a")
    assert raised.value.code == "DiskFull"
    assert (tmp_path / "a.part").stat().st_size == 0


async def test_a_disk_that_fills_up_gets_its_space_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async with running() as mirror:
        url = mirror.put("/a", CONTENT)
        with monkeypatch.context() as patched:
            patched.setattr(os, "write", full)
            with pytest.raises(StorageError, match="No space left") as raised:
                await downloader().fetch(url, tmp_path / "a")
        assert "Free some space" in (raised.value.cure or "")
        assert leftovers(tmp_path) == set()
        await downloader().fetch(url, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT


async def test_a_directory_that_may_not_be_written_in(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    async with running() as mirror:
        with pytest.raises(StorageError):
            await downloader().fetch(mirror.put("/a", CONTENT), tmp_path / "file" / "a")


async def test_a_proxy_of_the_environment_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.base)
        proxy.put("http://files.invalid/a", CONTENT)
        await downloader().fetch("http://files.invalid/a", tmp_path / "a")
        assert [asked.path for asked in proxy.seen] == ["http://files.invalid/a"]
        monkeypatch.setenv("HTTP_PROXY", "nonsense://x")
        with pytest.raises(DownloadError, match="a proxy of the environment"):
            await downloader().fetch("http://files.invalid/b", tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == CONTENT


async def test_a_password_of_the_mirror_is_sent_and_never_told(tmp_path: Path) -> None:
    async with running() as mirror:
        url = mirror.put("/a", CONTENT).replace("http://", "http://user:CANARY@")
        with pytest.raises(DownloadError) as raised:
            await downloader().fetch(url.replace("/a", "/missing?token=CANARY"), tmp_path / "b")
        mirror.script["/a"] = [mirror.cut(100_000), says(401)]
        with pytest.raises(DownloadError):
            await downloader().fetch(url, tmp_path / "a")
        noted = (tmp_path / "a.part.json").read_text()
        await downloader().fetch(url, tmp_path / "a")
        assert mirror.seen[-1].start == 100_000
        assert mirror.seen[-1].fields["authorization"].startswith("Basic ")
    assert "CANARY" not in f"{raised.value.message}{raised.value.cure}{noted}"


async def test_nobody_listens(tmp_path: Path) -> None:
    async with running() as mirror:
        base = mirror.base
    with pytest.raises(DownloadError, match="no connection"):
        await downloader().fetch(f"{base}/a", tmp_path / "a")


@pytest.mark.parametrize("url", ["ftp://example.com/a", "nonsense", "http://"])
async def test_what_is_no_address(url: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"neither https nor http|not a URL"):
        await downloader().fetch(url, tmp_path / "a")


async def test_what_is_not_http(tmp_path: Path) -> None:
    async def gibberish(asked: Asked, stream: trio.abc.Stream) -> None:
        await stream.send_all(b"220 smtp ready\r\n\r\n")

    async with running() as mirror:
        url = mirror.put("/a", CONTENT, *[gibberish] * 4)
        with pytest.raises(DownloadError, match="not HTTP"):
            await downloader().fetch(url, tmp_path / "a")


async def test_an_encoding_that_was_not_asked_for(tmp_path: Path) -> None:
    async with running() as mirror:
        url = mirror.put("/a", b"", *[says(200, {"Content-Encoding": "gzip"}, b"x")] * 4)
        with pytest.raises(DownloadError, match="encoding"):
            await downloader().fetch(url, tmp_path / "a")


async def test_a_small_document_is_read_and_a_long_one_is_not() -> None:
    async with running() as mirror:
        assert await downloader().read_text(mirror.put("/latest.txt", b"1.2.3\n", says(503))) == "1.2.3\n"
        with pytest.raises(DownloadError, match="longer than 65,536 bytes"):
            await downloader().read_text(mirror.put("/big", b"x" * 70_000))


async def test_where_something_leads_and_whether_it_is_there() -> None:
    async with running() as mirror:
        mirror.put("/go", b"", says(302, {"Location": "/to/v1.2.3/x"}))
        one = downloader()
        assert (await one.fields(mirror.base + "/go"))["location"] == "/to/v1.2.3/x"
        assert mirror.seen[-1].method == "HEAD"
        assert (await one.fields(mirror.put("/a", CONTENT)))["content-length"] == str(len(CONTENT))
        assert await one.exists(mirror.base + "/a")
        assert not await one.exists(mirror.base + "/nothing")
        with pytest.raises(DownloadError):
            await one.exists(mirror.put("/busy", b"", says(503), says(503)))


async def test_a_download_that_crawls_in_small_pieces_is_one_try(tmp_path: Path) -> None:
    """Progress forgives the tries before it, so that a bad line gets there in the end."""
    async with running() as mirror:
        content = CONTENT * 20
        url = mirror.put("/a", content)
        mirror.script["/a"] = [mirror.cut(transfer.FURTHER + 1000)] * 5
        await downloader(replace(QUICK, retries=1)).fetch(url, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == content


async def test_one_that_another_process_brings_is_waited_for_as_long_as_more_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloader_module, "PATIENCE", 0.2)
    hasty = downloader(replace(QUICK, stall_timeout=0.1))
    part = tmp_path / "a.part"
    async with running() as mirror, held(tmp_path / ".a.lock"):
        url = mirror.put("/a", CONTENT)
        looks: list[int] = []
        real = part_module.Part.size

        def look(self: part_module.Part) -> int:
            looks.append(real(self))
            if len(looks) < 5:
                part.write_bytes(b"x" * len(looks))  # the other one has come further
            return looks[-1]

        monkeypatch.setattr(part_module.Part, "size", look)
        with trio.fail_after(30), pytest.raises(DownloadError, match="nothing of it has come") as raised:
            await hasty.fetch(url, tmp_path / "a")
        assert looks == [0, 1, 2, 3, 4, 4]
        assert ".a.lock" in (raised.value.cure or "")
        assert mirror.seen == []
    part.unlink()
    async with running() as mirror:
        await hasty.fetch(mirror.put("/a", CONTENT), tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT

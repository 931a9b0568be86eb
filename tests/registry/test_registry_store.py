from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING

import pytest
import trio

from muxi.errors import OperatorError, StorageError
from muxi.files import atomic_write
from muxi.registry import saver
from muxi.registry.receipts import KEPT_SECONDS, Receipt
from muxi.registry.records import FormationRecord, ProcessRecord, encode
from muxi.registry.store import Registry, load

if TYPE_CHECKING:
    from pathlib import Path


NOW = 1_800_000_000.0


def record(formation_id: str = "my-bot", *, stopped: bool = False) -> FormationRecord:
    return FormationRecord(
        id=formation_id,
        name="My bot",
        port=8000,
        stopped=stopped,
        semantic="1.0.0",
        bundle_hash="ab" * 32,
        created_at=1.5,
        deployed_at=2.5,
        updated_at=3.5,
        process=ProcessRecord(token_sha256="ab", pid=5),
    )


async def test_what_was_put_is_found_by_the_next_start(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry.json")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(registry.run)
        registry.put(record("a"))
        registry.put(record("b", stopped=True))
        registry.put(record("c"))
        registry.remove("c")
        with trio.fail_after(30):
            await registry.flush()
        nursery.cancel_scope.cancel()
    found = load(tmp_path / "registry.json").records
    assert found == {"a": record("a"), "b": record("b", stopped=True)}
    assert stat.S_IMODE((tmp_path / "registry.json").stat().st_mode) == 0o600


async def test_flush_returns_at_once_when_nothing_changed(tmp_path: Path) -> None:
    with trio.fail_after(30):
        await Registry(tmp_path / "registry.json").flush()


async def test_many_changes_end_up_in_few_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writes = 0

    def counted(path: Path, data: bytes) -> None:
        nonlocal writes
        writes += 1
        atomic_write(path, data)

    monkeypatch.setattr(saver, "atomic_write", counted)
    registry = Registry(tmp_path / "registry.json")
    async with trio.open_nursery() as nursery:
        for number in range(500):
            registry.put(record(f"bot-{number}"))
        nursery.start_soon(registry.run)
        with trio.fail_after(30):
            await registry.flush()
        nursery.cancel_scope.cancel()
    assert len(load(tmp_path / "registry.json").records) == 500
    assert writes == 1


async def test_a_failing_disk_is_told_to_the_waiter_and_loses_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    registry = Registry(directory / "registry.json")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(registry.run)
        registry.put(record("a"))
        with trio.fail_after(30), pytest.raises(StorageError) as caught:
            await registry.flush()
        assert caught.value.cure is not None
        directory.mkdir()
        registry.put(record("b"))
        with trio.fail_after(30):
            await registry.flush()
        nursery.cancel_scope.cancel()
    assert set(load(directory / "registry.json").records) == {"a", "b"}


@pytest.mark.parametrize("text", ["", "{", '{"version": 2}', '{"version": 2, "formations": [{"id": 1}]}'])
def test_a_damaged_file_is_set_aside_and_not_overwritten(tmp_path: Path, text: str) -> None:
    path = tmp_path / "registry.json"
    path.write_text(text)
    assert load(path).records == {}
    assert not path.exists()
    (aside,) = tmp_path.iterdir()
    assert aside.name.startswith("registry.json.damaged-")
    assert aside.read_text() == text


def test_a_file_of_another_format_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "registry.json"
    path.write_text(json.dumps({"version": 1, "saved_at": "2026-01-01T00:00:00Z", "formations": []}))
    with pytest.raises(OperatorError, match="format 1"):
        load(path)
    assert json.loads(path.read_text())["version"] == 1


def test_an_absent_file_is_an_empty_registry(tmp_path: Path) -> None:
    assert load(tmp_path / "registry.json").records == {}


def test_a_process_as_an_earlier_version_wrote_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "registry.json"
    written = encode([record()], now=1.0).replace(
        b'"token_sha256": "ab"', b'"token_sha256": "ab", "start_ticks": 7, "boot_id": "x"'
    )
    path.write_bytes(written)
    found = load(path).records["my-bot"].process
    assert found == ProcessRecord(token_sha256="ab", pid=5, start_ticks=7, boot_id="x")
    assert found.release == 0, "not known, so nothing is adopted by it"


def receipt(formation_id: str, at: float = NOW, **result: object) -> Receipt:
    return Receipt(
        name=f"{formation_id}-{at}",
        asked="",
        kind="stop",
        formation_id=formation_id,
        operation_id="o",
        at=at,
        result=result or None,
    )


async def test_the_latest_receipt_of_each_formation_is_written_with_its_record(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry.json")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(registry.run)
        registry.keep("a", receipt("a", NOW - 1))
        registry.keep("a", receipt("a", status="stopped"))
        registry.put(record("a", stopped=True))
        registry.keep("b", receipt("b"))
        registry.keep("b", None)  # somebody without a key has changed it since
        registry.keep("c", receipt("c", NOW - KEPT_SECONDS - 1))
        registry.keep("d", receipt("d"))
        registry.remove("d")
        with trio.fail_after(30):
            await registry.flush()
        nursery.cancel_scope.cancel()
    found = load(tmp_path / "registry.json")
    assert found.receipts == [receipt("a", status="stopped"), receipt("d")]
    assert [one.begun for one in found.receipts] == [False, True]
    assert set(found.records) == {"a"}


def test_a_registry_without_receipts_is_read(tmp_path: Path) -> None:
    (tmp_path / "registry.json").write_bytes(encode([record()], NOW))
    assert b"receipts" not in (tmp_path / "registry.json").read_bytes()
    assert load(tmp_path / "registry.json").receipts == []

"""Idempotency keys: what is sent again gets what the first one got."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import msgspec
import pytest
import trio

from muxi.errors import Conflict, FormationFailed, NoPort
from muxi.formation.operation import Operation
from muxi.registry.receipts import KEPT_SECONDS, MOST, Receipt, Receipts, load_receipts
from tests.api.harness import BUNDLE, GZIP, NOW, Api, make_api, make_scope, view
from tests.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

ONE = "/rpc/formations/my-bot"
KEYED = GZIP | {"X-Muxi-Idempotency-Key": "8d1c", "X-Formation-ID": "new-bot"}
RESULT = {"port": 8002, "status": "running", "version": "1.0.0"}


@pytest.fixture
def api(tmp_path: Path) -> Api:
    return make_api(tmp_path, view("my-bot"))


async def test_a_repeated_deploy_gets_the_first_result_and_deploys_once(api: Api) -> None:
    api.fleet.results["deploy"] = RESULT
    first = await api.post("/rpc/formations", BUNDLE, **KEYED)
    api.fleet.views["new-bot"] = view("new-bot")
    second = await api.post("/rpc/formations", BUNDLE, **KEYED)
    assert (second.status, second.data) == (first.status, first.data)
    assert first.status == 201
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    assert len(api.fleet.uploads) == 1
    other = await api.post("/rpc/formations", BUNDLE, **KEYED | {"X-Muxi-Idempotency-Key": "other"})
    assert other.status == 409


async def test_a_failure_is_repeated_too_but_not_what_the_formation_printed(api: Api) -> None:
    why = FormationFailed("It crashed.", stage="spawning", cure="Mend it.", details={"log_tail": ["secret"]})
    api.fleet.results["deploy"] = why
    first = await api.post("/rpc/formations", BUNDLE, **KEYED)
    second = await api.post("/rpc/formations", BUNDLE, **KEYED)
    assert first.json["details"] == {"log_tail": ["secret"]}
    for name in ("message", "code", "error_code", "stage", "cure"):
        assert second.json[name] == first.json[name]
    assert len(api.fleet.uploads) == 1
    assert b"secret" not in (api.directory / "receipts.json").read_bytes()
    assert KEYED["X-Muxi-Idempotency-Key"].encode() not in (api.directory / "receipts.json").read_bytes()


async def test_what_failed_by_the_servers_fault_may_be_tried_again(api: Api) -> None:
    api.fleet.results["deploy"] = NoPort("No free port.")
    assert (await api.post("/rpc/formations", BUNDLE, **KEYED)).status == 507
    api.fleet.results["deploy"] = RESULT
    assert (await api.post("/rpc/formations", BUNDLE, **KEYED)).status == 201
    assert len(api.fleet.uploads) == 2


@pytest.mark.parametrize(
    ("path", "kind", "body"),
    [
        ("/rpc/formations", "deploy", BUNDLE),
        (f"{ONE}/update", "update", BUNDLE),
        (f"{ONE}/rollback", "rollback", b""),
    ],
)
async def test_one_that_comes_while_the_formation_is_brought_back_waits_for_that(
    api: Api, path: str, kind: str, body: bytes
) -> None:
    api.fleet.results[kind] = RESULT
    api.fleet.restoring = trio.Event()
    answers = []

    async def send() -> None:
        named = "new-bot" if kind == "deploy" else "my-bot"
        answers.append(await api.post(path, body, **KEYED | {"X-Formation-ID": named}))

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await trio.testing.wait_all_tasks_blocked()
            assert (answers, api.fleet.operations) == ([], [])
            api.fleet.restoring.set()
    assert [answer.status for answer in answers] == [201 if kind == "deploy" else 200]
    assert len(api.fleet.operations) == 1


async def test_what_began_nothing_may_be_sent_again(api: Api) -> None:
    headers = KEYED | {"X-Formation-ID": "my-bot"}
    assert (await api.post("/rpc/formations", BUNDLE, **headers)).status == 409
    del api.fleet.views["my-bot"]
    api.fleet.results["deploy"] = RESULT
    assert (await api.post("/rpc/formations", BUNDLE, **headers)).status == 201


async def test_a_repeat_joins_the_first_while_that_runs(api: Api) -> None:
    async with trio.open_nursery() as nursery:
        answers = []

        async def send() -> None:
            answers.append(await api.post("/rpc/formations", BUNDLE, **KEYED))

        nursery.start_soon(send)
        await until(lambda: len(api.fleet.operations) == 1)
        nursery.start_soon(send)
        async with api.exchange(make_scope("POST", "/rpc/formations", signed(api, KEYED))) as watching:
            await watching.send(BUNDLE, last=True)
            await watching.started.wait()
            api.fleet.operations[0].progress("spawning", "Starting…")
            assert (await watching.event())[1]["stage"] == "spawning"
            api.fleet.operations[0].succeed(RESULT)
            assert (await watching.event())[0] == "complete"
    assert [answer.status for answer in answers] == [201, 201]
    assert answers[0].data == answers[1].data
    assert len(api.fleet.uploads) == 1


def signed(api: Api, headers: dict[str, str]) -> dict[str, str]:
    authorization = api.signature("POST", "/rpc/formations")
    return {**headers, "Authorization": authorization, "Accept": "text/event-stream"}


async def test_a_repeat_takes_the_place_of_an_upload_that_broke_off(api: Api) -> None:
    api.fleet.results["deploy"] = RESULT
    scope = make_scope("POST", "/rpc/formations", signed(api, KEYED))
    async with api.exchange(scope) as broken, trio.open_nursery() as nursery:
        await broken.send(BUNDLE[:5])
        await until(lambda: any((api.directory / "tmp").glob("upload-*")))
        answers = []

        async def again() -> None:
            answers.append(await api.post("/rpc/formations", BUNDLE, **KEYED))

        nursery.start_soon(again)
        await trio.testing.wait_all_tasks_blocked()
        assert answers == []
        await broken.leave()
    assert [answer.status for answer in answers] == [201]
    assert [content for content, _, _ in api.fleet.uploads] == [BUNDLE]


@pytest.mark.parametrize(
    ("path", "body", "changed"),
    [
        ("/rpc/formations", BUNDLE + b"more", {}),
        ("/rpc/formations", BUNDLE, {"X-Formation-Version": "2.0.0"}),
        ("/rpc/formations/new-bot/deploy", BUNDLE, {}),
        (f"{ONE}/restart", b"", {}),
    ],
)
async def test_a_key_is_good_for_one_request(
    api: Api, path: str, body: bytes, changed: dict[str, str]
) -> None:
    api.fleet.results |= {"deploy": RESULT, "restart": RESULT}
    assert (await api.post("/rpc/formations", BUNDLE, **KEYED)).status == 201
    answer = await api.post(path, body, **KEYED | changed)
    assert (answer.status, answer.json["error_code"]) == (422, "IdempotencyKeyReused")
    assert len(api.fleet.operations) == 1


async def test_a_body_that_nobody_reads_is_no_part_of_a_request(api: Api) -> None:
    api.fleet.results["restart"] = RESULT
    for body in (b"{}", b""):
        assert (await api.post(f"{ONE}/restart", body, **{"Idempotency-Key": '"r1"'})).status == 200
    assert len(api.fleet.operations) == 1


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 256, "ä"])
async def test_a_key_is_short_and_plain(api: Api, key: str) -> None:
    headers = {"X-Muxi-Idempotency-Key": key}
    answer = await api.post(f"{ONE}/restart", **headers)
    assert (answer.status, answer.json["error_code"]) == (400, "InvalidIdempotencyKey")


async def test_a_json_body_counts_too(api: Api) -> None:
    api.fleet.results["update"] = RESULT
    body = json.dumps({"bundle": base64.b64encode(BUNDLE).decode()}).encode()
    headers = {"Content-Type": "application/json", "X-Muxi-Idempotency-Key": "1"}
    for _ in range(2):
        assert (await api.post(f"{ONE}/update", body, **headers)).status == 200
    assert len(api.fleet.uploads) == 1
    assert (await api.post(f"{ONE}/update", body + b" ", **headers)).status == 422


async def test_a_restart_of_the_server_does_not_lose_it(api: Api, tmp_path: Path) -> None:
    api.fleet.results["deploy"] = RESULT
    first = await api.post("/rpc/formations", BUNDLE, **KEYED)
    later = make_api(tmp_path, view("new-bot"), receipts=load_receipts(tmp_path / "receipts.json"))
    again = await later.post("/rpc/formations", BUNDLE, **KEYED)
    assert (again.status, again.data) == (first.status, first.data)
    events = (await later.post("/rpc/formations", BUNDLE, **KEYED, Accept="text/event-stream")).events
    assert [name for name, _ in events] == ["complete"]
    assert later.fleet.uploads == []


def test_receipts_are_kept_for_a_day_and_are_not_endless(tmp_path: Path) -> None:
    receipts = Receipts(tmp_path / "receipts.json")
    for number in range(MOST + 5):
        receipts.add(receipt(str(number), NOW + number / 1000))
    assert receipts.find("4", NOW) is None
    assert receipts.find("5", NOW) is not None
    assert receipts.find("5", NOW + KEPT_SECONDS + 1) is None
    receipts.add(receipt("new", NOW + KEPT_SECONDS + 60))
    assert isinstance(receipts.find("new", NOW + KEPT_SECONDS + 60), Receipt)
    assert receipts.find(str(MOST), NOW) is None


def receipt(name: str, at: float, **result: object) -> Receipt:
    return Receipt(
        name=name, asked="", kind="deploy", formation_id="x", operation_id="y", at=at, result=result
    )


def test_what_was_committed_is_completed_and_what_is_known_stays(tmp_path: Path) -> None:
    receipts = Receipts(tmp_path / "receipts.json", [receipt("known", NOW - 5, told=True)])
    old = NOW - KEPT_SECONDS
    receipts.complete([receipt("lost", NOW - 3), receipt("known", NOW - 5), receipt("old", old)], NOW)
    known = receipts.find("known", NOW)
    assert known is not None
    assert known.result == {"told": True}
    assert receipts.find("lost", NOW) == receipt("lost", NOW - 3)
    assert receipts.find("old", old + 1) is None


def test_a_damaged_file_of_receipts_keeps_nobody_out(tmp_path: Path) -> None:
    path = tmp_path / "receipts.json"
    path.write_bytes(b"[{]")
    assert load_receipts(path).find("x", NOW) is None


async def test_a_repeated_cancel_gets_the_first_answer_also_from_a_later_server(
    api: Api, tmp_path: Path
) -> None:
    update = Operation("update", "my-bot")
    api.fleet.operations.append(update)
    keyed = {"X-Muxi-Idempotency-Key": "c1"}
    answers = []

    async def cancel() -> None:
        answers.append(await api.post(f"{ONE}/cancel", **keyed))

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancel)
            nursery.start_soon(cancel)
            await trio.testing.wait_all_tasks_blocked()
            update.fail(Conflict("The update was cancelled.", code="Cancelled"))
    later = make_api(tmp_path, view("my-bot"), receipts=load_receipts(tmp_path / "receipts.json"))
    answers.append(await later.post(f"{ONE}/cancel", **keyed))
    assert [answer.status for answer in answers] == [200, 200, 200]
    assert answers[0].data == answers[1].data == answers[2].data
    assert sum("idempotency-replayed" in answer.headers for answer in answers) == 2
    other = await api.post(f"{ONE}/cancel", **{"X-Muxi-Idempotency-Key": "c2"})
    assert other.json["error_code"] == "NothingToCancel"


async def test_a_repeated_change_of_a_draft_gets_the_first_answer(api: Api) -> None:
    def body(action: str) -> bytes:
        return json.dumps({"action": action, "mode": "new"}).encode()

    for action in ("init", "discard"):
        keyed = {"X-Muxi-Idempotency-Key": action}
        first = await api.post(f"{ONE}/draft/files", body(action), **keyed)
        again = await api.post(f"{ONE}/draft/files", body(action), **keyed)
        assert (first.status, again.status) == (200, 200)
        assert again.json == first.json
        assert "idempotency-replayed" in again.headers
        other = await api.post(f"{ONE}/draft/files", body("read"), **keyed)
        assert other.status == 422
    refused = await api.post(f"{ONE}/draft/files", body("discard"), **{"X-Muxi-Idempotency-Key": "new"})
    assert refused.status == 404


async def test_what_a_draft_holds_is_not_kept(api: Api) -> None:
    path = f"{ONE}/draft/files"
    wishes = (
        {"action": "init", "mode": "new"},
        {"action": "write", "path": "a.txt", "content": "hush"},
        {"action": "read", "path": "a.txt"},
        {"action": "write", "path": "a.txt", "content": "other"},
    )
    for number, wish in enumerate(wishes):
        keyed = {"X-Muxi-Idempotency-Key": f"k{number}"}
        assert (await api.post(path, json.dumps(wish).encode(), **keyed)).status == 200
    again = await api.post(path, json.dumps(wishes[2]).encode(), **{"X-Muxi-Idempotency-Key": "k2"})
    assert again.data["content"] == "other"
    assert b"hush" not in (api.directory / "receipts.json").read_bytes()


async def test_a_run_of_a_directory_is_remembered_as_long_as_it_may_run(tmp_path: Path) -> None:
    api = make_api(tmp_path, view("my-bot"), allow_dev_remote=True)
    body = json.dumps({"path": "/somewhere"}).encode()
    keyed = {"X-Muxi-Idempotency-Key": "d1"}
    first = await api.post("/rpc/dev/run", body, **keyed)
    again = await api.post("/rpc/dev/run", body, **keyed)
    assert (first.status, again.json) == (200, first.json)
    assert len(api.dev.asked) == 1
    api.fleet.results["restart"] = RESULT
    assert (await api.post(f"{ONE}/restart", **{"X-Muxi-Idempotency-Key": "r"})).status == 200
    kept = load_receipts(tmp_path / "receipts.json")
    later = make_api(tmp_path, allow_dev_remote=True, receipts=kept)
    assert "idempotency-replayed" not in (await later.post("/rpc/dev/run", body, **keyed)).headers
    assert len(later.dev.asked) == 1


@pytest.mark.parametrize("ended", [True, False])
async def test_a_start_that_a_killed_server_was_at_is_told_by_how_it_came_back(api: Api, ended: bool) -> None:
    keyed = {"X-Muxi-Idempotency-Key": "s1"}
    api.fleet.results["start"] = RESULT
    api.fleet.views["my-bot"] = view("my-bot", "stopped")
    assert (await api.post(f"{ONE}/start", **keyed)).status == 200
    (kept,) = msgspec.json.decode((api.directory / "receipts.json").read_bytes(), type=list[Receipt])
    begun = msgspec.structs.replace(kept, result=None)
    later = make_api(api.directory, view("my-bot"), receipts=Receipts(api.directory / "later.json", [begun]))
    restore = Operation("restore", "my-bot")
    later.fleet.operations.append(restore)
    if ended:
        restore.succeed(RESULT)
    answers = []

    async def start() -> None:
        answers.append(await later.post(f"{ONE}/start", **keyed))

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(start)
            await trio.testing.wait_all_tasks_blocked()
            if not ended:
                assert answers == []
                restore.succeed(RESULT)
        await start()
    assert [(answer.status, answer.data["port"]) for answer in answers] == [(200, 8002)] * 2
    assert [each.kind for each in later.fleet.operations] == ["restore"]


async def test_a_start_that_nothing_came_of_is_begun_anew(api: Api) -> None:
    keyed = {"X-Muxi-Idempotency-Key": "s1"}
    api.fleet.results["start"] = RESULT
    api.fleet.views["my-bot"] = view("my-bot", "stopped")
    await api.post(f"{ONE}/start", **keyed)
    (kept,) = msgspec.json.decode((api.directory / "receipts.json").read_bytes(), type=list[Receipt])
    begun = msgspec.structs.replace(kept, result=None)
    later = make_api(
        api.directory, view("my-bot", "stopped"), receipts=Receipts(api.directory / "later.json", [begun])
    )
    later.fleet.results["start"] = RESULT
    assert (await later.post(f"{ONE}/start", **keyed)).status == 200
    assert [each.kind for each in later.fleet.operations] == ["start"]

"""Idempotency keys: what is sent again gets what the first one got."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest
import trio

from muxi.errors import FormationFailed, NoPort
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

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from muxi.download.failure import DownloadError
from muxi.errors import NotFound, OperatorError
from muxi.images.models import MODELS, named
from tests.download.serving import says, sha256

if TYPE_CHECKING:
    from pathlib import Path

    from muxi.images.models import Model
    from tests.images.conftest import Shop

SMALL = named("multilingual")


def publish(shop: Shop, model: Model) -> None:
    for file in model.files:
        shop.mirror.put(f"/{model.repository}/resolve/main/{file}", f"content of {file}".encode())


async def test_a_model_comes_whole_in_the_layout_of_its_library(shop: Shop) -> None:
    publish(shop, SMALL)
    directory = await shop.models.install(SMALL)
    top = shop.data / "cache" / "models--Xenova--multilingual-e5-small"
    assert directory == top / "snapshots" / "main"
    assert (top / "refs" / "main").read_text() == "main"
    assert (directory / "onnx" / "model_quantized.onnx").read_text() == "content of onnx/model_quantized.onnx"
    assert await shop.models.missing(SMALL) == ()


async def test_what_is_all_there_needs_no_network(shop: Shop) -> None:
    publish(shop, SMALL)
    await shop.models.install(SMALL)
    asked = len(shop.mirror.seen)
    await shop.models.install(SMALL)
    assert len(shop.mirror.seen) == asked
    shop.close()
    await shop.models.install(SMALL)


async def test_only_what_is_missing_or_empty_is_fetched(shop: Shop) -> None:
    publish(shop, SMALL)
    directory = await shop.models.install(SMALL)
    (directory / "config.json").write_text("")
    (directory / "tokenizer.json").unlink()
    asked = len(shop.mirror.seen)
    assert set(await shop.models.missing(SMALL)) == {"config.json", "tokenizer.json"}
    await shop.models.install(SMALL)
    got = [one.path.rpartition("/")[2] for one in shop.mirror.seen[asked:] if one.method == "GET"]
    assert set(got) == {"config.json", "tokenizer.json"}


async def test_the_hash_that_the_hub_publishes_counts(shop: Shop) -> None:
    publish(shop, SMALL)
    large = f"/{SMALL.repository}/resolve/main/onnx/model_quantized.onnx"
    linked = {"X-Linked-Etag": f'"{"0" * 64}"', "Location": large}
    shop.mirror.script[large] = [says(302, linked)]
    with pytest.raises(DownloadError, match="not what its publisher says"):
        await shop.models.install(SMALL)
    content = shop.mirror.files[large]
    linked["X-Linked-Etag"] = f'"{sha256(content)}"'
    shop.mirror.script[large] = [says(302, linked)]
    await shop.models.install(SMALL)
    assert await shop.models.missing(SMALL) == ()


async def test_a_model_that_fails_is_not_said_to_be_here(shop: Shop) -> None:
    publish(shop, SMALL)
    del shop.mirror.files[f"/{SMALL.repository}/resolve/main/onnx/model_quantized.onnx"]
    with pytest.raises(DownloadError):
        await shop.models.install(SMALL)
    assert await shop.models.missing(SMALL) == ("onnx/model_quantized.onnx",)
    assert not (shop.data / "cache" / SMALL.directory / "refs").exists()


def test_models_by_either_name() -> None:
    assert named("nomic-ai/nomic-embed-text-v1.5") is MODELS[0] is named("LEAN")
    with pytest.raises(NotFound, match="'large'") as raised:
        named("large")
    assert "multilingual" in (raised.value.cure or "")


def rce(shop: Shop, version: str) -> Path:
    path = shop.data / "rce" / f"skills-rce-{version}-linux-amd64.sif"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x")
    return path


async def test_the_newest_code_runner_is_the_greatest_number(shop: Shop) -> None:
    rce(shop, "1.2.2")
    newest = rce(shop, "1.2.10")
    (shop.data / "rce" / "skills-rce-9.0.0-linux-arm64.sif").write_bytes(b"x")
    assert await shop.rce.installed() == newest
    assert await shop.rce.ensure() == newest
    assert shop.mirror.seen == []


async def test_the_code_runner_is_fetched_when_none_is_here(shop: Shop) -> None:
    location = {"Location": f"{shop.mirror.base}/download/v1.4.0/version.txt"}
    shop.mirror.put("/latest/download/version.txt", b"", says(302, location))
    shop.mirror.put("/download/v1.4.0/skills-rce-1.4.0-linux-amd64.sif", b"the runner")
    with pytest.raises(OperatorError, match="downloads none") as raised:
        await shop.rce.ensure(download=False)
    assert "runtime install rce" in (raised.value.cure or "")
    path = await shop.rce.ensure()
    assert path.read_bytes() == b"the runner"
    assert path.stat().st_mode & 0o777 == 0o755
    shop.close()
    assert await shop.rce.ensure() == path


async def test_a_code_runner_that_can_not_be_had(shop: Shop) -> None:
    with pytest.raises(DownloadError, match="could not be learned"):
        await shop.rce.install()
    with pytest.raises(DownloadError, match="'1' is not an exact version"):
        await shop.rce.install(version="1")
    with pytest.raises(DownloadError, match=r"There is no skills-rce-1\.0\.0"):
        await shop.rce.install(version="1.0.0")

"""The cache of embedding models, which MUXI formations share (HF_HOME in their environment).

Laid out as the `huggingface_hub` library does it, with `main` in the place of a revision, as the
original did: `models--ORG--NAME/refs/main` and `models--ORG--NAME/snapshots/main/FILE`. What is all
there is used without a network.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from muxi.disk import disk_work
from muxi.download.checksums import read_published
from muxi.download.failure import DownloadError
from muxi.errors import NotFound
from muxi.files import atomic_write
from muxi.images.report import tell_nobody, telling

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from muxi.config.download import DownloadConfig
    from muxi.download.downloader import Downloader
    from muxi.download.progress import Progress
    from muxi.images.report import Report

REVISION = "main"
LINKED = "x-linked-etag"
"""The field in which the hub says the SHA-256 of a file that it keeps elsewhere (Git LFS)."""
READABLE = 0o644


@dataclass(frozen=True, slots=True)
class Model:
    """A model that can be had: its short name, its repository and the files of it, its weights last."""

    name: str
    repository: str
    files: tuple[str, ...]

    @property
    def weights(self) -> str:
        return self.files[-1]

    @property
    def directory(self) -> str:
        return f"models--{self.repository.replace('/', '--')}"


_COMMON = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
MODELS = (
    Model(
        "lean",
        "nomic-ai/nomic-embed-text-v1.5",
        (
            *_COMMON,
            "vocab.txt",
            "sentence_bert_config.json",
            "modules.json",
            "1_Pooling/config.json",
            "config_sentence_transformers.json",
            "onnx/model.onnx",
        ),
    ),
    Model("multilingual", "Xenova/multilingual-e5-small", (*_COMMON, "onnx/model_quantized.onnx")),
)


def named(name: str) -> Model:
    """Return a model by its short name or its repository's. Raises NotFound."""
    for model in MODELS:
        if name.lower() in {model.name, model.repository.lower()}:
            return model
    known = ", ".join(f"{model.name} ({model.repository})" for model in MODELS)
    raise NotFound(f"There is no model '{name[:80]}' to install.", cure=f"Name one of these: {known}.")


class ModelCache:
    """The models below a cache directory."""

    def __init__(
        self, directory: Path, downloader: Downloader, settings: Callable[[], DownloadConfig]
    ) -> None:
        self._directory = directory
        self._downloader = downloader
        self._settings = settings

    async def missing(self, model: Model) -> tuple[str, ...]:
        """Return the files of a model that are not here, or empty. Raises StorageError."""
        with disk_work(f"look into {self._directory}"):
            return await trio.to_thread.run_sync(self._missing, model)

    async def install(self, model: Model, report: Report = tell_nobody) -> Path:
        """Have a whole model here, and return the directory of its files. Raises OperatorError."""
        snapshot = self._snapshot(model)
        base = f"{self._settings().models_url}/{model.repository}/resolve/{REVISION}"
        for file in await self.missing(model):
            await self._fetch(
                f"{base}/{file}", snapshot / file, telling(report, f"{model.repository}/{file}")
            )
        with disk_work(f"write in {self._directory}"):
            await trio.to_thread.run_sync(self._refer, model)
        return snapshot

    async def size(self, model: Model) -> int | None:
        """Ask how long its weights are; None where that is not said. Raises DownloadError."""
        base = f"{self._settings().models_url}/{model.repository}/resolve/{REVISION}"
        return await self._downloader.size(f"{base}/{model.weights}")

    async def _fetch(self, url: str, target: Path, report: Callable[[Progress], None]) -> None:
        """Fetch a file, and check it by the hash that is published of large ones."""
        fields: Mapping[str, str] = {}
        with suppress(DownloadError):  # not every mirror answers a HEAD; the GET will say what is wrong
            fields = await self._downloader.fields(url)
        sha256 = read_published(fields.get(LINKED, "").strip('"'), target.name)
        await self._downloader.fetch(url, target, sha256=sha256, mode=READABLE, report=report)

    def _snapshot(self, model: Model) -> Path:
        return self._directory / model.directory / "snapshots" / REVISION

    def _missing(self, model: Model) -> tuple[str, ...]:
        snapshot = self._snapshot(model)
        paths = {file: snapshot / file for file in model.files}
        return tuple(file for file, path in paths.items() if not path.is_file() or not path.stat().st_size)

    def _refer(self, model: Model) -> None:
        """Say which snapshot is `main`: itself."""
        ref = self._directory / model.directory / "refs" / REVISION
        if not ref.is_file() or ref.read_text("utf-8") != REVISION:
            ref.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(ref, REVISION.encode(), READABLE)

"""Telling whoever waits how far the download of an image is, as events of a deploy have it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from muxi.download.failure import shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from muxi.download.progress import Progress

STAGE = "downloading_sif"
_MEGABYTE = 1_000_000


class Report(Protocol):
    """Takes a stage, a message and the optional fields of a progress event."""

    def __call__(self, stage: str, message: str, **fields: object) -> None: ...


def tell_nobody(stage: str, message: str, **fields: object) -> None:
    """Be the `Report` of what nobody watches."""


def telling(report: Report, name: str, **fields: object) -> Callable[[Progress], None]:
    """Return what reports the progress of downloading `name`; percents are whole, as clients read them."""

    def tell(progress: Progress) -> None:
        percent = progress.percent
        known = {} if percent is None else {"progress": percent}
        report(STAGE, describe(name, progress), url=shown(progress.url), **known, **fields)

    return tell


def describe(name: str, progress: Progress) -> str:
    """Say how far it is: `Downloading X: 45 % of 312 MB, 12.3 MB/s`."""
    done = f"{progress.done / _MEGABYTE:,.0f} MB"
    if progress.total:
        done = f"{progress.percent} % of {progress.total / _MEGABYTE:,.0f} MB"
    rate = f", {progress.rate / _MEGABYTE:.1f} MB/s" if progress.rate else ""
    return f"Downloading {name}: {done}{rate}"

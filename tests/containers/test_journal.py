"""A container's output is copied once, whoever asks again, is killed, or writes to the same log."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from muxi.containers.frames import Entry
from muxi.containers.journal import Journal
from muxi.containers.overlap import Overlap

if TYPE_CHECKING:
    from pathlib import Path


class Play:
    """A journal in a directory of its own, and the engine's own copy of the output."""

    def __init__(self, directory: Path) -> None:
        self.out, self.err = directory / "a-out.log", directory / "a-err.log"
        self.path = directory / "containers" / "1.json"
        self.said: list[Entry] = []
        self.journal = Journal.begin(self.path, self.out, self.err)

    def say(self, text: str, *, err: bool = False, at: int | None = None) -> None:
        at = len(self.said) + 1 if at is None else at
        self.said.append(Entry(err, at, f"{text}\n".encode()))

    def ask(self) -> None:
        """Copy as it is done after each connection: all from `since` on comes."""
        self.journal.ask_again()
        self.journal.copy([entry for entry in self.said if entry.at >= self.journal.since])

    def killed(self) -> None:
        """Be followed by another server, which knows only what is on the disk."""
        resumed = Journal.resume(self.path)
        assert resumed is not None
        self.journal = resumed

    @property
    def lines(self) -> list[str]:
        return self.out.read_text().splitlines()


@pytest.fixture
def play(tmp_path: Path) -> Play:
    return Play(tmp_path)


def test_asking_again_doubles_nothing(play: Play) -> None:
    play.say("one")
    play.say("two", at=1)
    play.ask()
    play.say("three", at=1)
    play.say("oops", err=True, at=1)
    play.ask()
    play.ask()
    assert play.lines == ["one", "two", "three"]
    assert play.err.read_text() == "oops\n"


@pytest.mark.parametrize("saved", [0, 1, 2, 3])
def test_a_killed_server_loses_and_doubles_nothing(play: Play, saved: int) -> None:
    for number in range(3):
        if number == saved:
            play.journal.save()
        play.say("tick")  # all alike: only their places tell them apart
        play.ask()
    play.say("tock")
    play.killed()
    play.ask()
    assert play.lines == ["tick", "tick", "tick", "tock"]


def test_a_line_that_the_kill_has_torn_is_completed(play: Play) -> None:
    play.say("one")
    play.say("a longer line")
    play.ask()
    os.truncate(play.out, play.out.stat().st_size - 8)
    play.killed()
    play.say("three")
    play.ask()
    assert play.lines == ["one", "a longer line", "three"]


def test_another_release_may_write_to_the_same_log(play: Play) -> None:
    play.say("one")
    play.ask()
    with play.out.open("a") as other:
        other.write("other\n")
    play.say("two")
    play.ask()
    play.killed()
    play.say("three")
    play.ask()
    assert play.lines == ["one", "other", "two", "three"]


def test_a_clock_that_is_set_back_loses_no_line_that_is_being_followed(play: Play) -> None:
    play.say("one", at=100)
    play.journal.ask_again()
    play.journal.copy(play.said)
    play.journal.copy([Entry(False, 50, b"two\n")])
    assert play.lines == ["one", "two"]


def test_what_a_full_disk_refuses_comes_later(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_fd: int, _data: bytes) -> int:
        raise OSError(28, "No space left on device")

    play.say("one")
    monkeypatch.setattr("muxi.containers.journal.os.write", full)
    with pytest.raises(OSError, match="No space"):
        play.ask()
    monkeypatch.undo()
    play.journal.copy([])
    play.say("two")
    play.ask()
    assert play.lines == ["one", "two"]


def test_damaged_or_missing_places_are_no_places(play: Play) -> None:
    play.path.write_text("{")
    assert Journal.resume(play.path) is None
    play.path.unlink()
    assert Journal.resume(play.path) is None


@pytest.mark.parametrize(
    ("found", "pieces", "left"),
    [
        (b"", [b"a\n"], b"a\n"),
        (b"a\nb\n", [b"a\n", b"b\n", b"a\n"], b"a\n"),
        (b"a\nbb", [b"a\n", b"bbb\n"], b"b\n"),
        (b"x\na\ny\n", [b"a\n", b"b\n"], b"b\n"),
        (b"a\n", [b"b\n", b"a\n"], b"b\na\n"),
    ],
)
def test_what_is_there_is_left_out(found: bytes, pieces: list[bytes], left: bytes) -> None:
    overlap = Overlap(found)
    assert b"".join(map(overlap.rest, pieces)) == left

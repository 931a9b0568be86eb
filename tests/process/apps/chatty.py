"""Writes numbered lines as fast as it can, in pieces that end within lines, until TERM; then "end"."""

import os
import signal

stop: list[int] = []
signal.signal(signal.SIGTERM, lambda *_: stop.append(1))


def write(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


number, rest = 0, b""
while not stop:
    rest += b"".join(b"%d\n" % n for n in range(number, number + 1000))
    number += 1000
    cut = len(rest) - 3
    write(rest[:cut])
    rest = rest[cut:]
write(rest + b"end\n")

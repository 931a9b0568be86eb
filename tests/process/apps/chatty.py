"""Writes numbered lines in pieces that end within lines, until TERM; then "end".

As fast as it can, or with a pause after each thousand: its argument, in seconds.
"""

import os
import signal
import sys
import time

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
    if len(sys.argv) > 1:
        time.sleep(float(sys.argv[1]))
write(rest + b"end\n")

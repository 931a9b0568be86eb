"""Writes lines until stdin ends, then "end"; what the disk has no room for it tries again."""

import os
import select
import time


def write(data: bytes) -> None:
    while data:
        try:
            data = data[os.write(1, data) :]
        except OSError:
            time.sleep(0.01)


number = 0
while not select.select([0], [], [], 0)[0]:
    write(b"".join(b"%d\n" % n for n in range(number, number + 1000)))
    number += 1000
write(b"end\n")

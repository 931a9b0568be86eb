"""A process with a grandchild that ignores SIGTERM; writes the grandchild's pid into argv[1].

argv[2] says how the grandchild leaves: "group" stays in the group, "session" makes its own.
argv[3] says what the leader does then: "stay" (it ends on TERM) or "leave" (exits with 4).
"""

import os
import pathlib
import signal
import sys
import time

file, how, then = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
if os.fork() == 0:
    if how == "session":
        os.setsid()
    if os.fork() != 0:
        os._exit(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    temporary = file.with_suffix(".new")
    temporary.write_text(str(os.getpid()))
    temporary.replace(file)
    time.sleep(600)
    os._exit(0)
os.wait()
while not file.exists():
    time.sleep(0.005)
if then == "leave":
    os._exit(4)
time.sleep(600)

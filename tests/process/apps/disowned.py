"""A process with a child and a grandchild that have neither its group nor its environment.

The grandchild ignores SIGTERM and writes its pid into argv[1]; the two before it end on SIGTERM.
"""

import os
import pathlib
import signal
import subprocess
import sys
import time

file, generation = pathlib.Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
if generation < 2:
    command = [sys.executable, "-I", "-S", __file__, str(file), str(generation + 1)]
    subprocess.Popen(command, env={}, start_new_session=True)
else:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    temporary = file.with_suffix(".new")
    temporary.write_text(str(os.getpid()))
    temporary.rename(file)
time.sleep(600)

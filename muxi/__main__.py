"""`python -m muxi` is the command `muxi-server`."""

from __future__ import annotations

from muxi.cli.main import main

if __name__ == "__main__":
    main()

"""Tests with the real runtime: two gigabytes are fetched. Only `make acceptance` collects them."""

from __future__ import annotations

import os

collect_ignore_glob = [] if os.environ.get("MUXI_ACCEPTANCE") == "1" else ["test_*.py"]

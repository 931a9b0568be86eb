"""What a load balancer is told while a server comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.integration.outside import until
from tests.live import APP, bundle, running

if TYPE_CHECKING:
    from pathlib import Path

WAITING = "import os, time\nwhile os.path.exists({path!r}):\n    time.sleep(0.02)\n"


def test_a_server_is_ready_once_its_formations_are_back(tmp_path: Path) -> None:
    hold = tmp_path / "hold"
    app = WAITING.format(path=str(hold)) + APP
    with running(tmp_path) as server:
        assert server.get("/readyz").status_code == 200
        assert server.deploy("slow-bot", bundle("slow-bot", {"app.py": app})).status_code == 201
        assert server.terminate() == 0
    hold.touch()
    with running(tmp_path) as server:
        assert server.get("/livez").text == "ok"
        answer = server.get("/readyz")
        assert answer.status_code == 503
        assert answer.text == "1 of 1 formations are still to come back"
        hold.unlink()
        until(lambda: server.get("/readyz").status_code == 200, "ready")
        assert server.formation("slow-bot")["status"] == "running"

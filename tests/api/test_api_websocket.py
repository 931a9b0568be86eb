from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from quart.testing.connections import WebsocketResponseError

from tests.api.harness import make_api

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("path", ["/rpc/formations", "/ping", "/nowhere"])
async def test_an_upgrade_is_refused_in_json(tmp_path: Path, path: str) -> None:
    client = make_api(tmp_path).app.test_client()
    connection = client.websocket(path, scope_base={"extensions": {"websocket.http.response": {}}})
    async with connection as socket:
        with pytest.raises(WebsocketResponseError) as caught:
            await socket.receive()
    response = caught.value.response
    assert response.status_code in {400, 404, 405}
    assert json.loads(await response.get_data(as_text=True))["success"] is False

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from muxi.config.model import AuthConfig, Config, KeyPair, Paths, RceConfig, RuntimeConfig, defaults
from muxi.config.show import as_dict, sections

ROOT = Path("/srv/muxi")
PATHS = Paths(ROOT / "etc", ROOT / "data", ROOT / "log", ROOT / "cache", ROOT / "etc" / "config.yaml")
CANARY = "muxi_sk_" + "CANARY" * 9 + "wxyz"
CONFIG: Config = replace(
    defaults(PATHS),
    server_id="server-x-00000000",
    auth=AuthConfig(
        keys=(KeyPair("muxi_pk_0123456789abcdef01234567", CANARY), KeyPair("tiny", "sixteen-letters-"))
    ),
    rce=RceConfig(auth_token="rce_" + "CANARY" * 10),
)


def test_sections_are_those_of_the_original_with_masks() -> None:
    assert [(section.title, *section.rows) for section in sections(CONFIG)] == [
        ("Server", ("ID", "server-x-00000000"), ("Host", "0.0.0.0"), ("Port", "7890")),
        (
            "Authentication",
            ("Enabled", "true"),
            ("Key", "muxi_pk_0123••••••••"),
            ("Secret", "muxi_sk_...wxyz"),
            ("Key", "muxi_pk_••••••••"),
            ("Secret", "***"),
            ("Timestamp Tolerance", "5m"),
        ),
        (
            "Formations",
            ("Runtime Type", "native"),
            ("Port Range", "8000-8999"),
            ("Logs Directory", str(ROOT / "data" / "logs")),
            ("Auto Restart", "true"),
            ("Max Restarts", "10"),
        ),
    ]


def test_what_is_not_set_says_so() -> None:
    server, authentication, _ = sections(defaults(PATHS))
    assert ("ID", "(not set)") in server.rows
    assert ("Key", "(none)") in authentication.rows


def test_the_dictionary_is_json_with_every_group() -> None:
    plain = json.loads(json.dumps(as_dict(CONFIG)))
    assert plain["server"]["port"] == 7890
    assert plain["formations"]["port_range"] == [8000, 9000]
    assert plain["formations"]["deployment"]["health_check"]["timeout"] == 60.0
    assert plain["auth"]["keys"][0] == {"id": "muxi_pk_0123••••••••", "secret": "muxi_sk_...wxyz"}
    assert plain["paths"]["config_file"] == str(ROOT / "etc" / "config.yaml")


def test_no_secret_is_shown_anywhere() -> None:
    shown = json.dumps(as_dict(CONFIG)) + str(sections(CONFIG))
    assert "CANARY" * 2 not in shown
    assert "sixteen-letters-" not in shown


def test_the_password_of_a_mirror_is_masked() -> None:
    runtime = RuntimeConfig(sif_base_url="https://me:CANARY@mirror.example/runtime")
    found = as_dict(replace(CONFIG, runtime=runtime))["runtime"]
    assert isinstance(found, dict)
    assert found["sif_base_url"] == "https://***@mirror.example/runtime"

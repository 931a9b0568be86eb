from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from muxi.auth.credentials import KeyPair
from muxi.config.changes import compare, value_of
from muxi.config.model import Config, Paths, TlsConfig, defaults
from muxi.config.schema import build, declarations

HERE = Path("/here")
OLD = defaults(Paths(HERE, HERE, HERE, HERE, HERE / "config.yaml"))


def changed(**settings: object) -> Config:
    names = {name.replace("__", "."): value for name, value in settings.items()}
    current = {name: value_of(OLD, name) for name, _, _ in declarations(Config)}
    return build(Config, current | names, paths=OLD.paths)


def test_nothing_changed() -> None:
    assert compare(OLD, OLD) == (OLD, (), ())


def test_what_may_change_does_and_what_may_not_is_named() -> None:
    keys = (KeyPair("muxi_pk_" + "0" * 24, "muxi_sk_" + "0" * 56),)
    new = changed(
        server__port=1,
        server__idle_timeout=7.0,
        auth__keys=keys,
        formations__port_range=(9000, 9100),
        logging__level="debug",
        proxy__rate=3.0,
    )
    config, live, fixed = compare(OLD, new)
    assert live == ("server.idle_timeout", "auth.keys", "proxy.rate", "logging.level")
    assert fixed == ("server.port", "formations.port_range")
    assert config == replace(
        new,
        server=replace(new.server, port=7890),
        formations=replace(new.formations, port_range=(8000, 9000)),
    )


def test_what_has_no_effect_is_no_change() -> None:
    assert compare(OLD, changed(formations__pids_dir=Path("other")))[1:] == ((), ())


def test_another_certificate_is_served_but_https_is_not_switched() -> None:
    first = replace(OLD, server=replace(OLD.server, tls=TlsConfig(cert=HERE / "a.pem")))
    second = replace(OLD, server=replace(OLD.server, tls=TlsConfig(cert=HERE / "b.pem", min_version="1.3")))
    config, live, fixed = compare(first, second)
    assert (config.server.tls, live, fixed) == (
        second.server.tls,
        ("server.tls.cert", "server.tls.min_version"),
        (),
    )
    for old, new in ((OLD, second), (second, OLD)):
        config, live, fixed = compare(old, new)
        assert (config.server.tls, live, fixed) == (
            old.server.tls,
            (),
            ("server.tls.cert", "server.tls.min_version"),
        )


@pytest.mark.parametrize("name", ["server.port", "server.host", "formations.formations_dir", "server_id"])
def test_what_holds_for_the_life_of_a_program(name: str) -> None:
    assert {one.name: one.key.fixed for one in declarations(Config)}[name]


def test_the_page_on_the_server_names_all_of_them() -> None:
    page = (Path(__file__).parent.parent.parent / "contributing" / "server.md").read_text("utf-8")
    listed = page.partition("<!-- fixed settings: held by a test -->")[2].partition("<!-- end -->")[0]
    declared = {one.name for one in declarations(Config) if one.key.fixed}
    assert set(re.findall(r"`([^`]+)`", listed)) == declared

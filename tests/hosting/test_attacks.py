"""The attacks of `scripts/attack` in a short form, on apps with each way of signing in."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace

import bcrypt
import httpx
import pytest
from gradio_client import Client

from demo.authentication import read_sign_in
from demo.context import make_parts
from demo.interface import build, start
from demo.services.flagging import Desk
from rarl.review import open_store
from tests.hosting.attacks import ATTACKS, Entry, NotTried, Target

Targets = dict[str, Target]

PASSWORD = "correct horse battery"
PREFIXES = {"local": "/a/b", "htpasswd": "", "header": "/rarl"}


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Targets]:
    """Three apps, as `python app.py` serves them, without a model: no attack needs an answer."""
    folder = tmp_path_factory.mktemp("attacked")
    passwords = folder / "passwords"
    passwords.write_text(f"ada:{bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()}\n")
    (folder / "people.yaml").write_text("people: {ada: admin}\n")
    settings = {"local": "", "htpasswd": f"htpasswd:{passwords}", "header": "header:X-User"}
    targets: Targets = {}
    apps = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RARL_HOME", str(folder))
        patch.delenv("RARL_SIGN_IN", raising=False)
        shared = make_parts()
        store = open_store(folder)
        for way, setting in settings.items():
            sign_in = read_sign_in({"RARL_HOME": str(folder), "RARL_SIGN_IN": setting})
            parts = replace(shared, desk=Desk(store=store, sign_in=sign_in))
            app = build(parts)
            port, prefix = free_port(), PREFIXES[way]
            start(app, parts, mcp=way == "local", server_port=port, root_path=prefix or None)
            apps.append(app)
            admin = {"local": sign_in.key.secret, "htpasswd": f"ada:{PASSWORD}", "header": "ada"}
            address = f"http://127.0.0.1:{port}{prefix}"
            targets[way] = Target(address, way, admin=admin[way], mcp=way == "local")
        yield targets
    for app in apps:
        app.close(verbose=False)
    store.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.mark.parametrize("way", PREFIXES)
@pytest.mark.parametrize("entry", ATTACKS, ids=lambda entry: f"{entry.row}-{entry.run.__name__}")
def test_the_app_holds(targets: Targets, entry: Entry, way: str) -> None:
    if entry.timed:
        pytest.skip("it measures time; scripts/attack makes it")
    try:
        got = entry.run(targets[way])
    except NotTried as reason:
        pytest.skip(str(reason))
    assert got is None, f"{entry.title}: {got}"


def test_a_program_signs_in_and_is_let_in(targets: Targets) -> None:
    """What is refused to attackers works for Gradio's own client."""
    target = targets["htpasswd"]
    client = Client(target.address, auth=("Ada", PASSWORD), verbose=False)
    assert client.predict(limit=1, api_name="/review_list")["total"] == 0
    local = targets["local"]
    keyed = Client(local.address, headers={"Authorization": f"Bearer {local.admin}"}, verbose=False)
    assert keyed.predict(limit=1, api_name="/review_list")["total"] == 0
    info = httpx.get(f"{local.api}/info").json()["named_endpoints"]["/ask"]["parameters"]
    (mode,) = (one for one in info if one["parameter_name"] == "mode")
    assert "answer-then-reason" in str(mode)


def test_each_attack_is_tried_somewhere(targets: Targets) -> None:
    """An attack that no target is set up for proves nothing."""
    assert targets["local"].mcp and all(target.admin for target in targets.values())
    assert {entry.row for entry in ATTACKS} >= {1, 2, 3, 5, 6, 10, 12, 13, 14, 16, 20, 21}

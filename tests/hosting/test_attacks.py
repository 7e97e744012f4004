"""The attacks of `scripts/attack` in a short form, on apps with each way of signing in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import bcrypt
import pytest

from tests.browser.app_process import ROOT, running, with_key
from tests.hosting.attacks import ATTACKS, Entry, NotTried, Target, slow_headers

Targets = dict[str, Target]

PASSWORD = "correct horse battery"
TARGETS = ("local", "htpasswd", "header")
# The timer is the same for all connections, and waiting for it takes longer than the rest.
_LONG = {slow_headers: ("header",)}


@pytest.fixture(scope="module")
def targets(
    tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Target]]:
    folder = tmp_path_factory.mktemp("attacked")
    passwords = folder / "passwords"
    passwords.write_text(f"ada:{bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()}\n")
    people = folder / "people.yaml"
    people.write_text("people: {ada: admin}\n")
    settings = {
        "local": {"GRADIO_ROOT_PATH": "/a/b"},
        "htpasswd": {"RARL_SIGN_IN": f"htpasswd:{passwords}", "RARL_PEOPLE": str(people)},
        "header": {
            "RARL_SIGN_IN": "header:X-User",
            "RARL_PEOPLE": str(people),
            "GRADIO_ROOT_PATH": "/rarl",
        },
    }
    found: Targets = {}
    with ExitStack() as stack:
        for way, more in settings.items():
            (folder / way).mkdir()
            home = folder / way / "home"
            words = ("--mcp",) if way == "local" else ()
            address, _, _ = stack.enter_context(
                running(home, str(tiny_model), ROOT, *words, **more)
            )
            key = with_key(address).partition("token=")[2]
            admin = {"local": key, "htpasswd": f"ada:{PASSWORD}", "header": "ada"}[way]
            prefix = more.get("GRADIO_ROOT_PATH", "")
            found[way] = Target(address + prefix, way, admin=admin, mcp=way == "local")
        yield found


@pytest.mark.parametrize("way", TARGETS)
@pytest.mark.parametrize("entry", ATTACKS, ids=lambda entry: f"{entry.row}-{entry.run.__name__}")
def test_the_app_holds(targets: Targets, entry: Entry, way: str) -> None:
    run = entry.run
    if run in _LONG and way not in _LONG[run]:
        pytest.skip("tried on another one")
    try:
        got = run(targets[way])
    except NotTried as reason:
        pytest.skip(str(reason))
    assert got is None, f"{entry.title}: {got}"

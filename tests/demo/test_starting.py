"""Settings that keep the app from starting: one sentence, before Gradio reads them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from urllib.request import getproxies_environment, proxy_bypass_environment

import pytest

from demo.serving.preflight import prepare_start
from rarl.errors import RarlError

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [
        ("GRADIO_SERVER_PORT", "abc", "GRADIO_SERVER_PORT must be a number from 1 to 65535"),
        ("GRADIO_SERVER_PORT", "0", "GRADIO_SERVER_PORT must be a number from 1 to 65535"),
        ("GRADIO_SERVER_PORT", "99999", "GRADIO_SERVER_PORT must be a number from 1 to 65535"),
        ("GRADIO_NUM_PORTS", "many", "GRADIO_NUM_PORTS must be a number"),
        ("GRADIO_SERVER_NAME", "192.0.2.1", "no name or address of this machine"),
        ("GRADIO_SERVER_NAME", "no such host", "no name or address of this machine"),
        ("RARL_SIGNIN", "x", "did you mean RARL_SIGN_IN?"),
        ("RARL_LIMIT_FRAMES", "x", "RARL_LIMIT_FRAMES must be a whole number above 0"),
        ("RARL_PIXELS", "kep", "RARL_PIXELS must be keep or hash"),
    ],
)
def test_a_wrong_setting(setting: str, value: str, says: str) -> None:
    with pytest.raises(RarlError) as caught:
        prepare_start({setting: value})
    assert says in str(caught.value) and str(caught.value)[-1] in ".?"


def test_a_port_in_use() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        with pytest.raises(RarlError, match=f"The port {port} is in use"):
            prepare_start({"GRADIO_SERVER_PORT": port, "GRADIO_NUM_PORTS": "1"})
        environment = {"GRADIO_SERVER_PORT": port}  # the next free one is taken instead
        prepare_start(environment)


def test_the_ports_end_at_the_last() -> None:
    environment = {"GRADIO_SERVER_PORT": "65530", "GRADIO_SERVER_NAME": ""}
    prepare_start(environment)
    assert environment["GRADIO_NUM_PORTS"] == "6"


def test_this_machine_is_reached_without_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {"http_proxy": "http://127.0.0.1:9", "no_proxy": "pacs.example.org"}
    prepare_start(environment)
    for name in ("no_proxy", "NO_PROXY", "http_proxy"):
        monkeypatch.setenv(name, environment.get(name, ""))
    proxies = getproxies_environment()
    for host in ("localhost", "127.0.0.1", "pacs.example.org"):
        assert proxy_bypass_environment(host, proxies)
    assert not proxy_bypass_environment("www.example.org", proxies)


def test_the_app_says_so_and_ends() -> None:
    run = subprocess.run(
        [sys.executable, "app.py"],
        cwd=ROOT,
        env={**os.environ, "GRADIO_SERVER_PORT": "abc"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert run.returncode == 2 and run.stdout == ""
    assert run.stderr == (
        "GRADIO_SERVER_PORT must be a number from 1 to 65535; correct or unset it.\n"
    )

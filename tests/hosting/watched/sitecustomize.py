"""Writes down every host but this one that a process wants to reach, and lets it reach none.

Python imports this at its start where this folder is on PYTHONPATH.
"""

import os
import sys
from typing import Any

LOCAL = ("127.", "::1", "localhost", "0.0.0.0", "::ffff:127.")


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect":
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else ""
    elif event == "socket.getaddrinfo":
        host = arguments[0] or ""
    else:
        return
    if isinstance(host, bytes):
        host = host.decode()
    if host and not str(host).startswith(LOCAL):
        with open(os.environ["HOSTS_REACHED"], "a") as file:
            file.write(f"{host}\n")
        raise OSError(f"{host} is out of reach")


sys.addaudithook(watch)

"""Check the configuration before the app starts; report a mistake in one sentence.

It must run before Gradio is imported, which reads its own settings then.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import MutableMapping

from rarl.errors import SettingError
from rarl.settings import check_settings

_PORT, _COUNT, _NAME = "GRADIO_SERVER_PORT", "GRADIO_NUM_PORTS", "GRADIO_SERVER_NAME"
_LAST_PORT = 65_535


def prepare_start(environment: MutableMapping[str, str] | None = None) -> None:
    """Check all settings that have to be right from the start.

    Args:
        environment: `os.environ` where None. Two things in it are changed: a range of ports that
            ends beyond the last one ends there, and this machine is reached without a proxy.

    Raises:
        SettingError: a setting is mistyped, or the app cannot listen where it is told to.
    """
    environment = os.environ if environment is None else environment
    check_settings(environment)
    port = _number(environment, _PORT, 7860, _LAST_PORT)
    count = _number(environment, _COUNT, 100, _LAST_PORT)
    count = min(count, _LAST_PORT + 1 - port)
    if environment.get(_COUNT) or count < 100:
        environment[_COUNT] = str(count)
    name = environment.get(_NAME) or "127.0.0.1"
    _check_free(name, range(port, port + count))
    _without_proxy(environment, name)


def _number(environment: MutableMapping[str, str], name: str, default: int, most: int) -> int:
    text = environment.get(name, "").strip()
    if not text:
        environment.pop(name, None)  # Gradio takes an empty one for a number
        return default
    try:
        number = int(text)
    except ValueError:
        number = 0
    if not 1 <= number <= most:
        raise SettingError(f"{name} must be a number from 1 to {most}; correct or unset it.")
    return number


def _check_free(name: str, ports: range) -> None:
    """Whether there is a port to listen on.

    Raises:
        SettingError: the name is none of this machine's, or no port is free or allowed.
    """
    refused = False
    for port in ports:
        with socket.socket(socket.AF_INET6 if ":" in name else socket.AF_INET) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((name.strip("[]"), port))
            except (socket.gaierror, UnicodeError):
                raise SettingError(
                    f"{_NAME} is no name or address of this machine; correct or unset it."
                ) from None
            except PermissionError:
                refused = True
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise SettingError(
                        f"{_NAME} is no name or address of this machine; correct or unset it."
                    ) from None
            else:
                return
    which = f"port {ports[0]}" if len(ports) == 1 else f"ports {ports[0]} to {ports[-1]}"
    why = "may not be used by this account" if refused else "is in use"
    raise SettingError(f"The {which} {why}; choose another with {_PORT}.")


def _without_proxy(environment: MutableMapping[str, str], name: str) -> None:
    """Let this machine be reached directly: the app looks at its own page when it has started."""
    own = ["localhost", "127.0.0.1", "::1", *([] if name in ("0.0.0.0", "::") else [name])]
    given = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    hosts = [host.strip() for host in given.split(",") if host.strip()]
    hosts += [host for host in own if host not in hosts]
    environment["no_proxy"] = environment["NO_PROXY"] = ",".join(hosts)

"""Identify the sender of a request once, on the outer connection.

The guard puts a `Caller` into the ASGI scope. Nothing behind it looks at a header, a cookie or an
address again to find out who somebody is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

import gradio as gr
from starlette.datastructures import Headers

from rarl.review.roles import Role

Network = IPv4Network | IPv6Network

_KEY = "rarl.caller"
# Many addresses of one IPv6 customer lie in one network of this size.
_IPV6_PREFIX = 64


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is behind a request.

    Attributes:
        name: canonical name that was vouched for, or None.
        role: what the name may do; None where nothing.
        address: of the person, as the trusted proxy says it, else of the peer.
        peer: address of the other end of the connection; a proxy's, where there is one.
        browser: value of the visitor's cookie, or "" where none came.
        lasting: value of the cookie that outlives the browser and signing out, which is the key to
            named sessions; "" where none came.
    """

    name: str | None = None
    role: Role | None = None
    address: str = ""
    peer: str = ""
    browser: str = field(default="", repr=False)
    lasting: str = field(default="", repr=False)

    @property
    def share(self) -> str:
        """Whose share of a limit a request takes: the name where there is one."""
        return f"name:{self.name}" if self.name else f"address:{group_of(self.address)}"

    @property
    def marks(self) -> frozenset[str]:
        """By any of these a session, an event or an upload is known to belong to this caller.

        The name, and the browser's cookie; the address only where there is neither.
        """
        marks = set()
        if self.name:
            marks.add(f"name:{self.name}")
        if self.browser:
            marks.add(f"browser:{self.browser}")
        return frozenset(marks or {f"address:{self.address}"})


NOBODY = Caller()


def put_caller(scope: Any, caller: Caller) -> None:
    """Carry a caller in an ASGI scope."""
    scope[_KEY] = caller


def caller_of(source: Any) -> Caller:
    """The caller of an ASGI scope, a Starlette request or a Gradio request.

    Without a guard in front there is nobody: no name and no role.
    """
    if isinstance(source, gr.Request):
        source = source.request
    scope = getattr(source, "scope", source)
    caller = scope.get(_KEY) if isinstance(scope, Mapping) else None
    return caller if isinstance(caller, Caller) else NOBODY


def group_of(address: str) -> str:
    """The network that limits count as one: an IPv4 address, or a /64 of IPv6.

    >>> group_of("192.0.2.7"), group_of("2001:db8::1:2")
    ('192.0.2.7', '2001:db8::/64')
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(ip_network((parsed, _IPV6_PREFIX), strict=False))
    return str(parsed)


def within(address: str, networks: Sequence[Network]) -> bool:
    """Whether an address lies in one of the networks."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped:
        parsed = parsed.ipv4_mapped
    return any(parsed in network for network in networks)


def person_address(peer: str, headers: Headers, proxies: Sequence[Network]) -> str:
    """The address of the person behind a connection.

    `X-Forwarded-For` is believed from a trusted proxy alone, and read from its end: every proxy
    appends the address that it saw, so that the last one that is no trusted proxy is the person's.
    What stands before it was written by whoever sent the request.
    """
    address = peer
    if not within(peer, proxies):
        return address
    chain = ",".join(headers.getlist("x-forwarded-for")).split(",")
    for word in reversed(chain):
        try:
            address = str(ip_address(word.strip()))
        except ValueError:
            return address
        if not within(address, proxies):
            return address
    return address

"""Whom a service limits: each client by the address of its peer."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import Any

__all__ = ["address_key", "client_ip", "remote_addr"]

_NO_PEER = "unknown"
_NETWORK = 64  # bits of an IPv6 address that a client cannot choose
_NAT64 = 0x64FF9B << 64  # the first 96 bits of 64:ff9b::/96, whose last 32 are an IPv4 address


def client_ip(scope: Mapping[str, Any]) -> str:
    """Return the key of an ASGI connection's client: the address of its peer, and nothing else.

    An IPv6 address counts as its /64, which is what a single customer is given, and an IPv4 address
    within IPv6 (mapped, or of NAT64's 64:ff9b::/96) as the IPv4 address. No header is read, because
    a client can forge any (P44). Behind a proxy let the server replace the peer, as with
    `uvicorn --proxy-headers`. Connections without a peer, as over a Unix socket, have one key in
    common: they are not exempt.

    Args:
        scope: The scope, or a request of Starlette.
    """
    client = scope.get("client")
    return address_key(client[0] if client else "")


def remote_addr(environ: Mapping[str, Any]) -> str:
    """Return the key of a WSGI request's client; see `client_ip`.

    Behind a proxy let it be replaced, as with `werkzeug.middleware.proxy_fix.ProxyFix`.
    """
    return address_key(environ.get("REMOTE_ADDR"))


def address_key(address: str | None) -> str:
    """Return what the addresses of one client have in common.

    Args:
        address: An IP address, which may have a port or a zone. Anything else is its own key.
    """
    if not address:
        return _NO_PEER
    return _without_port(address) if ":" in address else address


@lru_cache(maxsize=4096)  # parsing takes longer than a decision
def _without_port(address: str) -> str:
    try:
        found = IPv6Address(address.partition("]")[0].removeprefix("[").partition("%")[0])
    except ValueError:
        return _of_ipv4(address)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    if int(found) >> 32 == _NAT64:
        return str(IPv4Address(int(found) & 0xFFFFFFFF))
    return str(IPv6Network((int(found), _NETWORK), strict=False))


def _of_ipv4(address: str) -> str:
    """Return an IPv4 address without its port; as it is if it is none."""
    host = address.rpartition(":")[0]
    try:
        return str(IPv4Address(host))
    except ValueError:
        return address

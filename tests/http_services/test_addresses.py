"""Whom a service limits: each client by the address of its peer."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from rate_limiter.http.addresses import address_key, client_ip, remote_addr


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("10.1.2.3:50000", "10.1.2.3"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::9]:443", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::9]", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("64:ff9b::10.1.2.3", "10.1.2.3"),
        ("[64:ff9b::a01:203]:80", "10.1.2.3"),
        ("64:ff9b:1::10.1.2.3", "64:ff9b:1::/64"),
        ("64:ff9b::1:0:0", "64:ff9b::/64"),
        ("::FFFF:0a01:0203", "10.1.2.3"),
        ("[::ffff:10.1.2.3]:80", "10.1.2.3"),
        ("testclient", "testclient"),
        ("a:b", "a:b"),
        ("not:an:address", "not:an:address"),
        ("", "unknown"),
        (None, "unknown"),
    ],
)
def test_read_address_returns_what_one_client_has_in_common(address, key):
    """P44: IPv6 counts as its /64, IPv4 within IPv6 as IPv4, and a port or zone as nothing."""
    assert address_key(address) == key


@pytest.mark.parametrize(
    ("scope", "key"),
    [
        ({"client": ("10.0.0.1", 5)}, "10.0.0.1"),
        ({"client": ["2001:db8::7", 5]}, "2001:db8::/64"),
        ({"client": None}, "unknown"),
        ({"client": ("", 0)}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_read_scope_returns_the_peer_and_no_header(scope, key):
    """P44: An ASGI client is its peer; those that have none are one client, and not exempt."""
    forged = [
        (b"x-forwarded-for", b"1.1.1.1"),
        (b"x-real-ip", b"1.1.1.1"),
        (b"forwarded", b"for=1"),
    ]
    assert client_ip(scope | {"headers": forged}) == key
    assert client_ip(Request({"type": "http", "headers": forged} | scope)) == key


@pytest.mark.parametrize(
    ("environ", "key"),
    [
        ({"REMOTE_ADDR": "10.0.0.1"}, "10.0.0.1"),
        ({"REMOTE_ADDR": "2001:db8::7"}, "2001:db8::/64"),
        ({"REMOTE_ADDR": ""}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_read_environ_returns_the_peer_and_no_header(environ, key):
    """P44: A WSGI client is its peer as well."""
    forged = {"HTTP_X_FORWARDED_FOR": "1.1.1.1", "HTTP_X_REAL_IP": "1.1.1.1"}
    assert remote_addr(environ | forged) == key

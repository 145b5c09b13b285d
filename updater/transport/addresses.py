"""What kind of place an address is, so that whoever names a host cannot send us where only we can reach.

A registry names token services, storage and pages; a name may resolve anywhere, to the metadata service of a cloud too
(169.254.169.254 hands out the machine's own credentials). So the address is judged that is connected to, not the name.
"""

from __future__ import annotations

import ipaddress
import socket
from enum import StrEnum

_MAPPED = ipaddress.ip_network("64:ff9b::/96")  # NAT64 (RFC 6052): the last four bytes are where it goes
_METADATA = frozenset(map(ipaddress.ip_address, ("100.100.100.200", "fd00:ec2::254")))
"""Metadata services outside the link-local range: Alibaba Cloud's and, over IPv6, that of AWS."""


class Kind(StrEnum):
    """Kinds of addresses, by who can be there."""

    PUBLIC = "public"
    PRIVATE = "private"
    LOOPBACK = "loopback"
    LINK_LOCAL = "link-local"  # the metadata services of clouds among them


def kind_of(address: str) -> Kind | None:
    """Return the kind of an IP address, also inside IPv6; None for what is none. What nobody assigned is private.

    127.1, 0x7f.1 and 2130706433 are addresses too: resolvers, and proxies, take them for 127.0.0.1.
    """
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        try:
            ip = ipaddress.ip_address(socket.inet_aton(address))
        except (OSError, ValueError):
            return None
    if isinstance(ip, ipaddress.IPv6Address):
        inner = (
            ip.ipv4_mapped or ip.sixtofour or (ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _MAPPED else None)
        )
        ip = inner or ip
    if ip.is_loopback or ip.is_unspecified:  # 0.0.0.0 connects to this machine
        return Kind.LOOPBACK
    if ip.is_link_local or ip in _METADATA:
        return Kind.LINK_LOCAL
    return Kind.PUBLIC if ip.is_global and not ip.is_multicast else Kind.PRIVATE


def led_by(peer: Kind | None) -> frozenset[Kind]:
    """Return where a server may lead us: anywhere public, and to the kind of place where it is itself."""
    return frozenset({Kind.PUBLIC, peer} if peer else {Kind.PUBLIC})

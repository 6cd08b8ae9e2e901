"""Whether a peer's address is in one of the networks that the settings name."""

import ipaddress

Networks = tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]


def contains(networks: Networks, host: str) -> bool:
    """Whether an IP address is in one of the networks; an IPv4-mapped IPv6 address counts as IPv4."""
    if not networks:
        return False
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in networks)

"""UDP sockets for one interface each, ready for ``reactor.adoptDatagramPort``.

One socket hears what is broadcast on the interface, one more each of our addresses
there: so the protocol knows a renewal (unicast) from a rebinding (broadcast) without
seeing the IP header.
"""

from __future__ import annotations

import errno
import socket
from ipaddress import IPv4Address

import ifaddr


#: Bytes of receive buffer asked for: room for some ten thousand packets in a burst.
RECEIVE_BUFFER = 8 << 20


class CannotServe(Exception):  # noqa: N818 - it says what, not that
    """An interface or port cannot be served; the message says why and what to do."""


def interface_addresses() -> dict[str, list[int]]:
    """Interface name to its IPv4 addresses, in the system's order."""
    found: dict[str, list[int]] = {}
    for adapter in ifaddr.get_adapters():
        mine = [int(IPv4Address(str(ip.ip))) for ip in adapter.ips if ip.is_IPv4]
        if mine:
            found.setdefault(adapter.name, []).extend(mine)
    return found


def choose_interfaces(names: tuple[str, ...]) -> dict[str, list[int]]:
    """The interfaces to serve with their addresses; ``*`` is all but loopback.

    Raises:
        CannotServe: One is not there, or has no address to be our identifier.
    """
    there = interface_addresses()
    if "*" in names:
        chosen = {name: mine for name, mine in there.items() if name != "lo"}
        if not chosen:
            raise CannotServe("interfaces = *: no interface has an IPv4 address")
        return chosen
    known = {name for _, name in socket.if_nameindex()}
    for name in names:
        if name not in known:
            raise CannotServe(
                f"interfaces: there is no interface {name}; there are"
                f" {', '.join(sorted(known))}"
            )
        if name not in there:
            raise CannotServe(
                f"interfaces: {name} has no IPv4 address; a DHCP server needs one to"
                f" be known by (ip address add … dev {name})"
            )
    return {name: there[name] for name in names}


def open_socket(interface: str, address: int, port: int) -> socket.socket:
    """A bound socket that does not block.

    Args:
        interface: The only one it hears and speaks on.
        address: One of ours, or 0 for all and for broadcasts.
        port: The server's port.

    Raises:
        CannotServe: The port is taken, or we may not have it.
    """
    where = f"port {port} on {interface}"
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        if not address:
            _check_unused(interface, port, where)
        # The sockets of one interface share the port among each other.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        _enlarge(sock)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        sock.bind((str(IPv4Address(address)), port))
    except OSError as error:
        sock.close()
        raise CannotServe(_explain(error, where)) from None
    except CannotServe:
        sock.close()
        raise
    return sock


def _check_unused(interface: str, port: int, where: str) -> None:
    """See that no other server has the port: sharing it would take half its packets."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        try:
            sock.bind(("0.0.0.0", port))  # noqa: S104 - that is the question
        except OSError as error:
            raise CannotServe(_explain(error, where)) from None


def _enlarge(sock: socket.socket) -> None:
    force = getattr(socket, "SO_RCVBUFFORCE", 33)
    try:
        sock.setsockopt(socket.SOL_SOCKET, force, RECEIVE_BUFFER)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)


def _explain(error: OSError, where: str) -> str:
    if error.errno in (errno.EACCES, errno.EPERM):
        return (
            f"{where}: not permitted.  Start as root and let twistd drop its rights"
            " (--uid, --gid), or give the process CAP_NET_BIND_SERVICE and CAP_NET_RAW"
            " (AmbientCapabilities= in a systemd unit), or serve another port:"
            " port = 6767"
        )
    if error.errno == errno.EADDRINUSE:
        return (
            f"{where}: another program has it (ss -lunp 'sport = {where.split()[1]}'"
            " names it); stop that one first"
        )
    return f"{where}: {error.strerror}"

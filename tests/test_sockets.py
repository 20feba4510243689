"""One UDP socket for one interface: its options, and what a person is told without it."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from ipaddress import IPv4Address
from pathlib import Path
from types import SimpleNamespace

import ifaddr
import pytest

from dhcptwist.testing import ip
from dhcptwist.transport import sockets
from dhcptwist.transport.sockets import (
    RECEIVE_BUFFER,
    CannotServe,
    choose_interfaces,
    interface_addresses,
    open_socket,
)


ROOT = Path(__file__).resolve().parents[1]
US = ip("127.0.0.1")


@pytest.fixture
def port():
    """A port that nobody has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("", 0))
        return sock.getsockname()[1]


@pytest.fixture
def opened(port):
    """Sockets as the server opens them, on loopback."""
    with ExitStack() as stack:
        yield lambda address: stack.enter_context(open_socket("lo", address, port))


def may_administer():
    """Whether we have CAP_NET_ADMIN; root in a container may lack it."""
    status = Path("/proc/self/status").read_text()
    effective = status.partition("CapEff:")[2].split()[0]
    return bool(int(effective, 16) >> 12 & 1)


def fails(monkeypatch, name, *wanted, error):
    """Let one call of every socket fail, if its first arguments are these."""

    class Failing(socket.socket):
        """A socket under a system that does not want it."""

    real = getattr(socket.socket, name)

    def call(self, *arguments):
        if arguments[: len(wanted)] == wanted:
            raise OSError(error, os.strerror(error))
        return real(self, *arguments)

    setattr(Failing, name, call)
    monkeypatch.setattr(socket, "socket", Failing)


class TestOptions:
    """What the system is told of a socket."""

    def test_stays_on_its_interface(self, opened):
        """TRAPS 21: it hears and speaks there only."""
        sock = opened(0)
        device = sock.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16)
        assert device.rstrip(b"\0") == b"lo"

    def test_broadcasts(self, opened):
        """TRAPS 20: it may send to 255.255.255.255."""
        assert opened(0).getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST)

    def test_never_blocks(self, opened):
        """Neither a read nor a full buffer may stop the reactor."""
        sock = opened(0)
        assert not sock.getblocking()
        with pytest.raises(BlockingIOError):
            sock.recv(1)

    def test_place(self, opened, port):
        """Bound to what was asked for: everything, or one address of ours."""
        assert opened(0).getsockname() == ("0.0.0.0", port)
        assert opened(US).getsockname() == ("127.0.0.1", port)

    def test_not_inherited(self, opened):
        """A program that we start does not hold our port."""
        assert not opened(0).get_inheritable()


class TestReceiveBuffer:
    """Room for a burst: a building where the power comes back."""

    @staticmethod
    def _size(sock):
        return sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)

    def _allowed(self):
        """What everybody may have of it."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            return self._size(sock)

    def test_large(self, opened):
        """As much as we may have; with rights more than the system's limit."""
        allowed = self._allowed()
        size = self._size(opened(0))
        # The kernel doubles it for its own book-keeping.
        assert size == (2 * RECEIVE_BUFFER if may_administer() else allowed)

    def test_without_rights(self, opened, monkeypatch):
        """Who may not pass the limit gets what the limit is, and serves."""
        force = getattr(socket, "SO_RCVBUFFORCE", 33)
        fails(monkeypatch, "setsockopt", socket.SOL_SOCKET, force, error=errno.EPERM)
        assert self._size(opened(0)) == self._allowed()


class TestWhoHearsWhat:
    """The kernel's part: one socket for broadcasts, one for each address."""

    def test_unicast_and_broadcast(self, opened, port):
        """Sent to our address, and sent to everyone, come in by different sockets."""
        everyone, ours = opened(0), opened(US)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
            client.sendto(b"renewal", ("127.0.0.1", port))
            client.sendto(b"rebinding", ("255.255.255.255", port))
        for sock, data in ((ours, b"renewal"), (everyone, b"rebinding")):
            assert sock.recv(100) == data
            with pytest.raises(BlockingIOError):
                sock.recv(100)


class TestRefused:
    """What a person is told; the socket is closed."""

    def test_in_use(self, port):
        """By another program: how to find out which."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("127.0.0.1", port))
            with pytest.raises(CannotServe) as told:
                open_socket("lo", 0, port)
        assert str(told.value) == (
            f"port {port} on lo: another program has it (ss -lunp 'sport = {port}'"
            " names it); stop that one first"
        )

    def test_in_use_by_a_sharer(self, port):
        """Also by a program that would share it, and take half our packets."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("", port))
            with pytest.raises(CannotServe, match="another program has it"):
                open_socket("lo", 0, port)

    def test_in_use_at_our_address(self, opened, port):
        """Where only the one address is taken."""
        opened(0)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("127.0.0.1", port))
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
            with pytest.raises(CannotServe, match="another program has it"):
                open_socket("lo", US, port)

    @pytest.mark.parametrize("address", [0, US])
    def test_no_interface(self, port, address):
        """An interface that went away since it was chosen."""
        with pytest.raises(CannotServe, match=f"^port {port} on nosuch0: No such dev"):
            open_socket("nosuch0", address, port)

    def test_not_our_address(self, opened, port):
        """An address that went away."""
        with pytest.raises(CannotServe, match=f"^port {port} on lo: Cannot assign"):
            open_socket("lo", ip("192.0.2.254"), port)

    @pytest.mark.parametrize("error", [errno.EACCES, errno.EPERM])
    @pytest.mark.parametrize("address", [0, US])
    def test_not_permitted(self, monkeypatch, error, address):
        """Every way out is named."""
        where = (str(IPv4Address(address)), 67)
        fails(monkeypatch, "bind", where, error=error)
        with pytest.raises(CannotServe) as told:
            open_socket("lo", address, 67)
        for way in (
            "port 67 on lo: not permitted",
            "--uid",
            "CAP_NET_BIND_SERVICE",
            "CAP_NET_RAW",
            "AmbientCapabilities=",
            "port = 6767",
        ):
            assert way in str(told.value)

    def test_without_rights(self):
        """The same from the system itself: nobody asks for a port below 1024."""
        script = (
            "import os, sys\n"
            "from dhcptwist.transport.sockets import CannotServe, open_socket\n"
            "if os.geteuid() == 0:\n"
            "    os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
            "try:\n"
            "    open_socket('lo', 0, 67)\n"
            "except CannotServe as error:\n"
            "    print(error)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        refused = "port 67 on lo: not permitted.  Start as root"
        # Some containers let everybody have every port.
        low = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()
        assert done.stdout.startswith(refused if int(low) > 67 else "")
        assert done.stderr == ""


class TestInterfaces:
    """Which are served."""

    @pytest.fixture
    def machine(self, monkeypatch):
        """A machine with these interfaces: name to addresses."""

        def machine(**interfaces):
            adapters = [
                SimpleNamespace(
                    name=name,
                    ips=[
                        SimpleNamespace(ip=each, is_IPv4=isinstance(each, str))
                        for each in addresses
                    ],
                )
                for name, addresses in interfaces.items()
            ]
            monkeypatch.setattr(ifaddr, "get_adapters", lambda: adapters)
            names = list(enumerate(interfaces, 1))
            monkeypatch.setattr(sockets.socket, "if_nameindex", lambda: names)

        return machine

    def test_real(self):
        """Loopback has an address everywhere."""
        assert US in interface_addresses()["lo"]
        assert choose_interfaces(("lo",)) == {"lo": interface_addresses()["lo"]}

    def test_all(self, machine):
        """``*`` is everything that has an IPv4 address, but not loopback."""
        six = ("fe80::1", 0, 2)
        machine(lo=["127.0.0.1"], eth0=["192.0.2.1", six], eth1=[six])
        assert choose_interfaces(("*",)) == {"eth0": [ip("192.0.2.1")]}

    def test_named(self, machine):
        """The named ones in their order, each with all its addresses in the system's."""
        machine(eth0=["192.0.2.1", "10.0.0.1"], eth1=["10.1.0.1"], eth2=["10.2.0.1"])
        chosen = choose_interfaces(("eth2", "eth0"))
        assert list(chosen) == ["eth2", "eth0"]
        assert chosen["eth0"] == [ip("192.0.2.1"), ip("10.0.0.1")]

    def test_none_at_all(self, machine):
        """``*`` on a machine that has no address is said, not served."""
        machine(lo=["127.0.0.1"], eth0=[])
        with pytest.raises(CannotServe, match=r"^interfaces = \*: no interface has an"):
            choose_interfaces(("*",))

    def test_unknown(self, machine):
        """One that is not there: those that are."""
        machine(lo=["127.0.0.1"], eth0=[], eth1=["10.1.0.1"])
        with pytest.raises(CannotServe) as told:
            choose_interfaces(("eth1", "eht0"))
        assert str(told.value) == (
            "interfaces: there is no interface eht0; there are eth0, eth1, lo"
        )

    def test_without_address(self, machine):
        """One without an IPv4 address: what for it is needed, and how to add one."""
        machine(lo=["127.0.0.1"], eth0=[("fe80::1", 0, 2)])
        with pytest.raises(CannotServe) as told:
            choose_interfaces(("lo", "eth0"))
        assert "eth0 has no IPv4 address" in str(told.value)
        assert "ip address add … dev eth0" in str(told.value)

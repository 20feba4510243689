"""The ini file: what it says, and every reason why it cannot be used."""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import IPv4Network
from math import inf
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from dhcptwist.config import (
    Config,
    ConfigError,
    ControlConfig,
    Problem,
    Rate,
    Role,
    StorageConfig,
    load,
    parse,
    parse_duration,
)
from dhcptwist.lease import Reservation, Settings
from dhcptwist.testing import ip


# However slow the machine is, that is no failure.
UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

EXAMPLE = """\
[server]
interfaces = eth0, eth1          ; names, or *
port = 67                        ; clients are answered on port+1, relays on port
authoritative = yes
state = /var/lib/dhcptwist       ; where embedded storage, certificates and sockets live
storage = sqlite:leases.sqlite   ; memory: | sqlite:FILE

[storage]
history = 30d                             ; or infinite
deadline = 5s
outstanding = 100
fallback = stale                          ; or silence
client-limit = 20 per 10s                 ; or none
port-limit = none
reservations = https://who.example/dhcp
token-file = secret
authority = /etc/ssl/who.pem

[control]
listen = tcp:6768:interface=127.0.0.1     ; or unix:control.sock:mode=660 ; empty = none
certificate = server.pem
authority = authority.pem
role netbox = reserve, cancel, list in 10.0.0.0/16      ; by certificate name

[subnet office]
network = 192.0.2.0/24
pools = 192.0.2.10 - 192.0.2.200          ; several, one per line
interface = eth0                          ; default: the one that has an address in network
shared-network = hall                     ; subnets on one wire
relays = 10.9.9.1                         ; giaddrs outside network
lease-time = 12h                          ; s m h d w, or infinite
offer-hold = 30s
decline-hold = 1d
probe = no                                ; check that an address is silent
rapid-commit = no
broadcast = as-asked                      ; or always
subnet-selection = no                     ; by option 118 (RFC 3011)
ddns = no
next-server = 192.0.2.5
boot-file = pxelinux.0
server-name = boot
option.routers = 192.0.2.1
option.domain-name-servers = 192.0.2.1, 192.0.2.2
option.224 = hex:01020304

[class pxe]
option.tftp-server-name = boot
boot-file = ipxe.efi
next-server = 192.0.2.6

[reservation printer]
hardware = 00:11:22:33:44:55              ; or client-id, or circuit-id and remote-id
address = 192.0.2.50                      ; inside a pool or outside; or none
hostname = printer
option.domain-name = print.example
class = pxe
"""

OFFICE = "[subnet office]\nnetwork = 192.0.2.0/24\n"


def problems_of(text):
    """The mistakes in a text, which must have some."""
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return caught.value.problems


def only_problem_of(text):
    """The only mistake in a text."""
    (problem,) = problems_of(text)
    return problem


def office(*lines):
    """The subnet of a configuration with only that one, with these lines."""
    (subnet,) = parse(OFFICE + "\n".join(lines)).subnets
    return subnet


def reserved(*lines):
    """The reservation of a configuration with only that one, with these lines."""
    text = OFFICE + "[reservation box]\n" + "\n".join(lines)
    (reservation,) = parse(text).reservations
    return reservation


class TestExample:
    """The example that the documentation gives."""

    @pytest.fixture
    def config(self):
        """The example, read."""
        return parse(EXAMPLE)

    def test_server(self, config):
        """The server's own keys."""
        assert config.interfaces == ("eth0", "eth1")
        assert (config.port, config.authoritative) == (67, True)
        assert config.state == Path("/var/lib/dhcptwist")
        assert config.storage == "sqlite:leases.sqlite"

    def test_control(self, config):
        """The control channel and who may do what."""
        role = Role(
            "netbox",
            frozenset({"reserve", "cancel", "list"}),
            (IPv4Network("10.0.0.0/16"),),
        )
        assert config.control == ControlConfig(
            "tcp:6768:interface=127.0.0.1", "server.pem", "authority.pem", (role,)
        )

    def test_subnet(self, config):
        """Everything a subnet can say."""
        (subnet,) = config.subnets
        assert subnet.name == "office"
        assert subnet.cidr == IPv4Network("192.0.2.0/24")
        assert subnet.ranges == ((ip("192.0.2.10"), ip("192.0.2.200")),)
        assert (subnet.interface, subnet.shared_network) == ("eth0", "hall")
        assert subnet.relays == {ip("10.9.9.1")}
        times = (subnet.lease_time, subnet.min_lease_time, subnet.max_lease_time)
        assert times == (43200, 43200, 43200)
        assert (subnet.offer_hold, subnet.decline_hold) == (30, 86400)
        assert (subnet.broadcast_always, subnet.selectable) == (False, False)
        assert subnet.options == {
            3: b"\xc0\0\2\1",
            6: b"\xc0\0\2\1\xc0\0\2\2",
            224: b"\1\2\3\4",
        }
        assert subnet.settings == Settings({}, ip("192.0.2.5"), "pxelinux.0", "boot")
        # TRAPS 49: the router's address is given to nobody.
        assert subnet.excluded == {ip("192.0.2.1")}

    def test_reservation(self, config):
        """A reservation, its name as option 12."""
        assert config.reservations == (
            Reservation(
                ip("192.0.2.50"),
                bytes.fromhex("01001122334455"),
                hostname="printer",
                settings=Settings(
                    {15: b"print.example"}, hostname="printer", client_class="pxe"
                ),
                source="file",
                expires=inf,
            ),
        )

    def test_storage(self, config):
        """What surrounds the storage; relative paths begin in the state directory."""
        assert config.around == StorageConfig(
            history=30 * 86400.0,
            deadline=5.0,
            outstanding=100,
            stale=True,
            client_limit=Rate(20, 10.0),
            port_limit=None,
            reservations="https://who.example/dhcp",
            token="/var/lib/dhcptwist/secret",
            authority="/etc/ssl/who.pem",
        )

    def test_class(self, config):
        """Settings for those who name it."""
        pxe = Settings({66: b"boot"}, ip("192.0.2.6"), "ipxe.efi")
        assert config.classes == {"pxe": pxe}

    def test_nothing(self):
        """An empty file is a configuration: everything has a default."""
        assert parse("") == Config()
        assert Config().control == ControlConfig("tcp:6768:interface=127.0.0.1")


class TestIni:
    """Sections, keys, values and comments."""

    @pytest.mark.parametrize(
        "text",
        [
            "[server]\nport = 1067 ; why\n",
            "[server]\nport = 1067\t# why\n",
            "; why\n[server] # here\n# and\n  ; so on\nport=1067\n",
            "\n\n[ server ]\n\n  PORT  =  1067  \n\n",
            "[server]\r\nport = 1067\r\n",
            "\ufeff[server]\nport = 1067",
            "[server]\nport =\n 1067\n",
            "[server]\nport =\n  ; why\n\n\t1067\n",
        ],
    )
    def test_ways_to_write_it(self, text):
        """Comments, blanks, case of keys, line ends, and values on the next line."""
        assert parse(text).port == 1067

    @pytest.mark.parametrize(
        ("value", "meant"),
        [
            ("python:a;b", "python:a;b"),
            ("csv://x/#a", "csv://x/#a"),
            ("a = b", "a = b"),
            ("[a]", "[a]"),
            ("a ;b", "a"),
            ("a #b", "a"),
        ],
    )
    def test_signs_inside_values(self, value, meant):
        """A comment begins behind a blank only; other signs are part of the value."""
        assert parse(f"[server]\nstorage = {value}\n").storage == meant

    def test_pools_over_lines(self):
        """Pools may stand one per line, or several on one, with comments between."""
        subnet = office(
            "pools = 192.0.2.10 - 192.0.2.19  ; first",
            "    192.0.2.30-192.0.2.39, 192.0.2.50",
            "  # none here",
            "",
            "\t192.0.2.20 - 192.0.2.29",
            "lease-time = 1h",
        )
        hosts = [(10, 19), (30, 39), (50, 50), (20, 29)]
        start = ip("192.0.2.0")
        assert subnet.ranges == tuple((start + a, start + b) for a, b in hosts)
        assert subnet.lease_time == 3600

    def test_other_values_over_lines(self):
        """A list may go on in the next line."""
        subnet = office(
            "option.domain-name-servers = 192.0.2.1,",
            "   192.0.2.2",
            "broadcast = always",
        )
        assert subnet.options[6] == b"\xc0\0\2\1\xc0\0\2\2"
        assert subnet.broadcast_always

    def test_names_with_blanks(self):
        """What follows the first word of a heading is the name."""
        (subnet,) = parse("[subnet  big  hall]\nnetwork = 10.0.0.0/8").subnets
        assert subnet.name == "big  hall"

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("[server\nport = 67", Problem(1, "", "", "'[server' lacks its ]")),
            ("[server] x", Problem(1, "", "", "'[server] x' lacks its ]")),
            ("[server]\nport", Problem(2, "server", "", "'port' has no =")),
            ("port", Problem(1, "", "", "'port' has no =")),
            ("port = 67", Problem(1, "", "port", "stands before any [section]")),
            (
                "[server]\nport = 67\nPort = 68",
                Problem(3, "server", "port", "is set twice"),
            ),
            (
                "[server]\n\n[server]",
                Problem(3, "server", "", "this section is here twice"),
            ),
            (
                f"{OFFICE}[subnet  office]\nnetwork = 10.0.0.0/8",
                Problem(3, "subnet office", "", "this section is here twice"),
            ),
        ],
    )
    def test_mistakes(self, text, problem):
        """What cannot be read is named with its line."""
        assert problem in problems_of(text)

    def test_no_heading(self):
        """An empty heading is a mistake, and what it holds is not lost silently."""
        reasons = [each.reason for each in problems_of("[ ]\nport = 67")]
        assert reasons[0] == "a section without a name"

    def test_mistaken_value_over_lines(self):
        """The further lines of a value that has no place are passed over with it."""
        text = "lost = 1\n 2\n[server]\nport = 67\nport = 68\n 69\n"
        assert [each.line for each in problems_of(text)] == [1, 5]

    @pytest.mark.parametrize(
        "sign", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029"]
    )
    def test_lines_are_those_of_an_editor(self, sign):
        """Only a line feed ends a line: else the numbers would not be the person's."""
        problem = only_problem_of(f"[server] ; a{sign}b\n\nport = none\n")
        assert (problem.line, problem.key) == (3, "port")


class TestSections:
    """Which sections and keys there are."""

    @pytest.mark.parametrize(
        "heading", ["servers", "server x", "control x", "storage x", "Server", "x y"]
    )
    def test_unknown_section(self, heading):
        """An unknown section is a mistake that names those there are."""
        problem = only_problem_of(f"\n[{heading}]")
        assert (problem.line, problem.section, problem.key) == (2, heading, "")
        assert problem.reason == (
            "there is no such section; there are [server], [storage], [control],"
            " [subnet NAME], [class NAME] and [reservation NAME]"
        )

    @pytest.mark.parametrize("kind", ["subnet", "class", "reservation"])
    def test_section_without_name(self, kind):
        """Subnets, classes and reservations have names."""
        problem = only_problem_of(f"[{kind}]")
        assert problem == Problem(1, kind, "", f"needs a name: [{kind} NAME]")

    @pytest.mark.parametrize("heading", ["ddns corp", "ddns"])
    def test_not_yet(self, heading):
        """What is designed but not there is not ignored."""
        reason = "this version of dhcptwist has none of these"
        assert only_problem_of(f"[{heading}]") == Problem(1, heading, "", reason)

    @pytest.mark.parametrize(
        ("heading", "key"),
        [
            ("server", "interface"),
            ("server", "option.routers"),
            ("control", "port"),
            ("control", "role"),
            ("control", "option.routers"),
            ("subnet office", "pool"),
            ("subnet office", "hardware"),
            ("subnet office", "options.routers"),
            ("reservation box", "network"),
            ("reservation box", "lease-time"),
            ("storage", "limit"),
            ("storage", "option.routers"),
            ("class pxe", "hardware"),
            ("class pxe", "class"),
        ],
    )
    def test_unknown_key(self, heading, key):
        """An unknown key is a mistake that names those there are."""
        problems = problems_of(f"[{heading}]\n{key} = x\n")
        (problem,) = [each for each in problems if each.key == key]
        assert (problem.line, problem.section) == (2, heading)
        assert re.match(
            r"there is no such key( \(is it [a-z-]+\?\))?; there are ", problem.reason
        )

    def test_known_keys_are_named(self):
        """The reason lists every key of the section."""
        reason = only_problem_of("[server]\nx = 1").reason
        known = "authoritative, interfaces, port, state, storage"
        assert reason == f"there is no such key; there are {known}"

    @pytest.mark.parametrize(
        ("section", "key", "meant"),
        [
            ("server", "storrage", "storage"),
            ("subnet office", "pool", "pools"),
            ("subnet office", "lease_time", "lease-time"),
            ("reservation box", "adress", "address"),
            ("storage", "client-limits", "client-limit"),
        ],
    )
    def test_what_was_meant(self, section, key, meant):
        """A slip of the fingers is answered with the key that was meant."""
        problems = problems_of(f"[{section}]\n{key} = x\n")
        (problem,) = [each for each in problems if each.key == key]
        assert problem.reason.startswith(
            f"there is no such key (is it {meant}?); there"
        )

    def test_keys_that_are_not_built_are_not_offered(self):
        """Whoever takes what is offered is not refused the next moment."""
        problems = problems_of("[subnet office]\nx = 1\n")
        (problem,) = [each for each in problems if each.key == "x"]
        words = re.findall(r"[a-z-]+", problem.reason)
        assert "pools" in words
        assert not {"probe", "rapid-commit", "ddns"} & set(words)


BAD_VALUES = [
    ("server", "interfaces", "", "names an interface, or * for all"),
    ("server", "interfaces", " , ", "names an interface, or * for all"),
    ("server", "port", "0", "'0' is not a port from 1 to 65534"),
    ("server", "port", "65535", "'65535' is not a port from 1 to 65534"),
    ("server", "port", "-1", "'-1' is not a port from 1 to 65534"),
    ("server", "port", "dhcp", "'dhcp' is not a port from 1 to 65534"),
    ("server", "port", "²", "'²' is not a port from 1 to 65534"),
    ("server", "port", "", "'' is not a port from 1 to 65534"),
    ("server", "authoritative", "maybe", "'maybe' is neither yes nor no"),
    ("server", "authoritative", "", "'' is neither yes nor no"),
    ("server", "state", "", "is empty"),
    ("server", "storage", "", "is empty"),
    ("server", "storage", "http://", "'http://' is not a URL like https://who"),
    ("server", "storage", "https://a/#b", "what stands behind # in a URL is never"),
    ("storage", "history", "long", "'long' is not a time like 30s"),
    ("storage", "history", "0", "'0' is not between 1 second"),
    ("storage", "deadline", "0s", "'0s' is not between 1 second"),
    ("storage", "deadline", "61", "'61' is more than a minute; no client waits"),
    ("storage", "deadline", "infinite", "'infinite' is more than a minute"),
    *(
        ("storage", "outstanding", value, f"{value!r} is not a number from 1 to 100000")
        for value in ("0", "100001", "-1", "many", "", "²", "9" * 5000, "1 0")
    ),
    ("storage", "fallback", "yes", "'yes' is neither stale nor silence"),
    *(
        ("storage", key, value, f"{value!r} is neither like 20 per 10s nor none")
        for key in ("client-limit", "port-limit")
        for value in (
            *("", "20", "per 10s", "20 per", "0 per 10s", "20 per 0s", "20 per 2d"),
            *("20 per infinite", "-1 per 10s", "1.5 per 10s", "1000000000 per 1s"),
            *("20per10s", "20 in 10s", "20 per 10s x", "None"),
        )
    ),
    *(
        ("storage", "reservations", value, f"{value!r} is not a URL like https://who")
        for value in (
            *("", "who.example", "ftp://who.example/", "https:who.example", "http://"),
            *("http:///dhcp", "https://who.example/a b", "https://who.exämple/"),
        )
    ),
    ("storage", "reservations", "http://a:b/", "'http://a:b/' is not a URL: Port"),
    ("storage", "reservations", "http://a:99999/", "is not a URL: Port out of range"),
    ("storage", "reservations", "http://[::1/", "is not a URL: Invalid IPv6"),
    ("storage", "reservations", "http://me:pw@a/", "is no place for a password"),
    ("storage", "reservations", "http://a/#b", "behind # in a URL is never sent"),
    ("storage", "token-file", "", "is empty"),
    ("storage", "authority", "", "is empty"),
    ("class", "boot-file", "", "is empty or longer than 127 bytes"),
    ("class", "next-server", "boot", "'boot' is not an IPv4 address"),
    ("class", "option.routers", "gate", "gate"),
    *(
        ("class", key, "PXE*", "cannot match clients yet; a storage's answer names")
        for key in ("match.vendor-class", "match.hardware", "match.nonsense")
    ),
    ("control", "listen", "udp:67", "'udp:67' is neither tcp:… nor unix:…"),
    ("control", "listen", "6768", "'6768' is neither tcp:… nor unix:…"),
    (
        "control",
        "listen",
        "unix:control.sock",
        "a unix: socket needs its mode, as in :mode=660",
    ),
    (
        "control",
        "role x",
        "",
        "verbs are cancel, explain, import, list, reload, reserve, revoke, status",
    ),
    (
        "control",
        "role x",
        "reserve, destroy",
        "verbs are cancel, explain, import, list, reload, reserve",
    ),
    (
        "control",
        "role x",
        "in 10.0.0.0/8",
        "verbs are cancel, explain, import, list, reload, reserve",
    ),
    ("control", "role x", "list in here", "'here' is not a network like 192.0.2.0/24"),
    ("control", "role x", "list in 10.0.0.1/8", "'10.0.0.1/8' is not a network like"),
    ("control", "role admin", "list", "a role needs a certificate's name; admin may"),
    ("subnet n", "network", "", "'' is not a network like 192.0.2.0/24"),
    ("subnet n", "network", "192.0.2.0/33", "'192.0.2.0/33' is not a network like"),
    ("subnet n", "network", "192.0.2.1/24", "'192.0.2.1/24' is not a network like"),
    ("subnet n", "network", "fd00::/64", "'fd00::/64' is not a network like"),
    ("subnet", "pools", "", "is empty"),
    ("subnet", "pools", "here", "'here' is not an IPv4 address"),
    ("subnet", "pools", "192.0.2.10 -", "'' is not an IPv4 address"),
    ("subnet", "pools", "192.0.2.10 - there", "'there' is not an IPv4 address"),
    (
        "subnet",
        "pools",
        "192.0.2.10 - 192.0.2.20 class pxe",
        "'192.0.2.20 class pxe' is not an IPv4 address",
    ),
    (
        "subnet",
        "pools",
        "192.0.2.20 - 192.0.2.10",
        "'192.0.2.20 - 192.0.2.10' begins behind its end",
    ),
    (
        "subnet",
        "pools",
        "192.0.3.1-192.0.3.9",
        "'192.0.3.1-192.0.3.9' is not inside 192.0.2.0/24",
    ),
    (
        "subnet",
        "pools",
        "192.0.2.200 - 192.0.3.9",
        "'192.0.2.200 - 192.0.3.9' is not inside 192.0.2.0/24",
    ),
    (
        "subnet",
        "pools",
        "192.0.2.0 - 192.0.2.9",
        "'192.0.2.0 - 192.0.2.9' holds the network's or the broadcast address of 192.0.2.0/24",
    ),
    ("subnet", "pools", "192.0.2.255", "'192.0.2.255' holds the network's or"),
    (
        "subnet",
        "pools",
        "192.0.2.10 - 192.0.2.20, 192.0.2.20",
        "192.0.2.20 is in two of the pools",
    ),
    ("subnet", "interface", "", "is empty"),
    ("subnet", "shared-network", "", "is empty"),
    ("subnet", "relays", "", "'' is not an IPv4 address"),
    ("subnet", "relays", "10.9.9.1 relay", "'relay' is not an IPv4 address"),
    ("subnet", "lease-time", "soon", "'soon' is not a time like 30s, 12h, 7d or"),
    ("subnet", "lease-time", "0", "'0' is not between 1 second and 4294967294"),
    ("subnet", "min-lease-time", "1y", "'1y' is not a time like"),
    ("subnet", "max-lease-time", "-1h", "'-1h' is not a time like"),
    ("subnet", "offer-hold", "", "'' is not a time like"),
    ("subnet", "decline-hold", "1 d", "'1 d' is not a time like"),
    ("subnet", "broadcast", "yes", "'yes' is neither as-asked nor always"),
    ("subnet", "subnet-selection", "118", "'118' is neither yes nor no"),
    ("subnet", "probe", "yes", "this version of dhcptwist cannot do that; leave it"),
    ("subnet", "probe", "arp", "'arp' is neither yes nor no"),
    ("subnet", "rapid-commit", "on", "this version of dhcptwist cannot do that"),
    ("subnet", "ddns", "true", "this version of dhcptwist cannot do that"),
    ("subnet", "ddns", "corp", "'corp' is neither yes nor no"),
    ("subnet", "next-server", "tftp", "'tftp' is not an IPv4 address"),
    ("subnet", "boot-file", "", "is empty or longer than 127 bytes"),
    ("subnet", "boot-file", "f" * 128, "is empty or longer than 127 bytes"),
    ("subnet", "server-name", "ü" * 32, "is empty or longer than 63 bytes"),
    ("subnet", "option.routers", "", "'' has an empty entry"),
    ("subnet", "option.routers", "router", "'router' is not an IPv4 address"),
    ("subnet", "option.router", "192.0.2.1", "there is no option named 'router'"),
    ("subnet", "option.", "x", "there is no option named ''"),
    ("subnet", "option.0", "x", "options have the numbers 1 to 254, not 0"),
    ("subnet", "option.255", "x", "options have the numbers 1 to 254, not 255"),
    ("subnet", "option.224", "text", "'text' is not hexadecimal"),
    ("subnet", "option.224", "hex:1", "'hex:1' is not hexadecimal"),
    ("subnet", "option.interface-mtu", "65536", "65536 does not fit a u16"),
    ("reservation", "address", "here", "'here' is not an IPv4 address"),
    ("reservation", "address", "10.0.0.1", "10.0.0.1 is in no [subnet]"),
    ("reservation", "address", "192.0.2.0", "192.0.2.0 is no host's address"),
    ("reservation", "address", "192.0.2.255", "192.0.2.255 is no host's address"),
    ("reservation", "hostname", "", "is empty or longer than 255 bytes"),
    ("reservation", "hostname", "h" * 256, "is empty or longer than 255 bytes"),
    ("reservation", "next-server", "1.2.3", "'1.2.3' is not an IPv4 address"),
    ("reservation", "boot-file", "f" * 128, "is empty or longer than 127 bytes"),
    ("reservation", "server-name", "s" * 64, "is empty or longer than 63 bytes"),
    ("reservation", "option.v6-only-preferred", "x", "'x' is not a number"),
    ("reservation n", "hardware", "", "'' is not as long as a hardware address is"),
    ("reservation n", "hardware", "box", "'box' is not a hardware address like"),
    (
        "reservation n",
        "hardware",
        "00:11:22:33:44",
        "'00:11:22:33:44' is not as long as a hardware address is",
    ),
    ("reservation n", "hardware", "256/00:11", "'256/00:11' is not a hardware address"),
    (
        "reservation n",
        "hardware",
        "x/00:11",
        "'x/00:11' is not a hardware address like",
    ),
    (
        "reservation n",
        "hardware",
        "32/" + "00" * 17,
        "is not as long as a hardware address is",
    ),
    ("reservation n", "client-id", "", "an identifier may not be empty"),
    ("reservation n", "client-id", "hex:", "an identifier may not be empty"),
    ("reservation n", "client-id", "hex:x", "'hex:x' is not hexadecimal"),
    ("reservation n", "circuit-id", "hex:0", "'hex:0' is not hexadecimal"),
    ("reservation n", "remote-id", "", "an identifier may not be empty"),
]

# Sections that need something else to be right: their names, and what goes before.
BEFORE = {
    "subnet": ("subnet office", OFFICE),
    "class": ("class pxe", "[class pxe]\n"),
    # Else the two keys for web services would be of no use, which is another mistake.
    "storage": ("storage", "[server]\nstorage = csv:\n[storage]\n"),
    "reservation": (
        "reservation box",
        OFFICE + "[reservation box]\nhardware = 00:11:22:33:44:55\n",
    ),
}


class TestBadValues:
    """A bad value of any key is named with its place."""

    @pytest.mark.parametrize(("heading", "key", "value", "reason"), BAD_VALUES)
    def test_reason(self, heading, key, value, reason):
        """One mistake: the line, the section, the key and what is wrong."""
        section, before = BEFORE.get(heading, (heading, f"[{heading}]\n"))
        problem = only_problem_of(f"{before}{key} = {value}\n")
        place = (before.count("\n") + 1, section, key)
        assert (problem.line, problem.section, problem.key) == place
        assert reason in problem.reason

    @pytest.mark.parametrize(
        "option",
        [
            "dhcp-requested-address", "dhcp-lease-time", "dhcp-option-overload",
            "dhcp-message-type", "dhcp-server-identifier", "dhcp-parameter-request-list",
            "dhcp-message", "dhcp-max-message-size", "dhcp-renewal-time",
            "dhcp-rebinding-time", "dhcp-client-identifier", "rapid-commit", "fqdn",
            "dhcp-agent-options", "subnet-selection", "53", "82",
        ],
    )  # fmt: skip
    def test_options_of_the_protocol(self, option):
        """TRAPS 28: what the protocol decides cannot be configured."""
        problem = only_problem_of(f"{OFFICE}option.{option} = hex:01")
        assert problem == Problem(
            3,
            "subnet office",
            f"option.{option}",
            "this option belongs to the protocol and cannot be set",
        )

    def test_several_bad_pools(self):
        """Every bad pool of a list is named, not only the first."""
        text = f"{OFFICE}pools = a\n  b, 192.0.2.10\n  192.0.2.1 - c\n"
        reasons = [each.reason for each in problems_of(text)]
        assert reasons == [f"'{each}' is not an IPv4 address" for each in "abc"]


class TestTogether:
    """Values that are right alone and wrong together."""

    def test_no_network(self):
        """A subnet needs its network; the place is where the section begins."""
        problem = only_problem_of("\n[subnet office]\nlease-time = 1h")
        assert problem == Problem(2, "subnet office", "", "has no network")

    @pytest.mark.parametrize(
        ("lines", "line"),
        [
            ("min-lease-time = 13h", 1),
            ("max-lease-time = 11h", 1),
            ("lease-time = 1h\nmin-lease-time = 2h", 3),
            ("max-lease-time = 1h\nlease-time = infinite", 4),
        ],
    )
    def test_lease_times(self, lines, line):
        """The lease time lies between the least and the most, its default too."""
        problem = only_problem_of(OFFICE + lines)
        reason = "must lie between min-lease-time and max-lease-time"
        assert problem == Problem(line, "subnet office", "lease-time", reason)

    def test_one_bad_time_is_one_mistake(self):
        """A lease time that cannot be read is not compared with the others."""
        problem = only_problem_of(f"{OFFICE}lease-time = 1x\nmax-lease-time = 1h")
        assert "'1x' is not a time" in problem.reason

    def test_option_twice(self):
        """An option may be set by name or by number, not by both."""
        lines = "option.routers = 192.0.2.1\noption.3 = 192.0.2.2"
        reason = "is set twice, by name and by number"
        problem = only_problem_of(OFFICE + lines)
        assert problem == Problem(4, "subnet office", "option.3", reason)

    @pytest.mark.parametrize(
        "other", ["192.0.2.0/24", "192.0.2.128/25", "192.0.0.0/16"]
    )
    def test_overlapping_subnets(self, other):
        """Subnets do not overlap, and the reason names the other one."""
        problem = only_problem_of(f"{OFFICE}[subnet b]\nnetwork = {other}")
        places = {
            (4, "subnet b", "network", "overlaps that of [subnet office]"),
            (2, "subnet office", "network", "overlaps that of [subnet b]"),
        }
        assert (problem.line, problem.section, problem.key, problem.reason) in places

    def test_every_overlap_is_named(self):
        """Two small subnets inside a large one are two mistakes."""
        text = (
            "[subnet all]\nnetwork = 10.0.0.0/8\n"
            "[subnet a]\nnetwork = 10.1.0.0/16\n"
            "[subnet b]\nnetwork = 10.2.0.0/16\n"
        )
        assert problems_of(text) == [
            Problem(4, "subnet a", "network", "overlaps that of [subnet all]"),
            Problem(6, "subnet b", "network", "overlaps that of [subnet all]"),
        ]

    def test_every_pool_that_overlaps_is_named(self):
        """Two addresses inside one pool are two mistakes."""
        text = f"{OFFICE}pools = 192.0.2.10 - 192.0.2.99, 192.0.2.20, 192.0.2.30"
        reasons = [each.reason for each in problems_of(text)]
        assert reasons == [
            "192.0.2.20 is in two of the pools",
            "192.0.2.30 is in two of the pools",
        ]

    def test_relay_of_two_subnets(self):
        """A relay outside the networks says which subnet is meant, so of one only."""
        text = (
            f"{OFFICE}relays = 10.9.9.1, 10.9.9.2\n"
            "[subnet b]\nnetwork = 10.0.0.0/24\nrelays = 10.9.9.2\n"
        )
        reason = "10.9.9.2 is in [subnet office] too"
        assert only_problem_of(text) == Problem(6, "subnet b", "relays", reason)

    def test_interface_of_nobody(self):
        """A subnet's interface is one that the server listens on."""
        text = f"{OFFICE}interface = eth2\n[server]\ninterfaces = eth0, eth1"
        reason = "eth2 is not among the server's interfaces"
        assert only_problem_of(text) == Problem(3, "subnet office", "interface", reason)
        assert parse(text.replace("eth0, eth1", "*"))
        assert parse(text.replace("eth0, eth1", "eth2"))

    def test_reservation_for_nobody(self):
        """A reservation says for whom it is."""
        problem = only_problem_of(f"{OFFICE}[reservation box]\naddress = 192.0.2.7")
        reason = "for whom? set hardware, client-id or circuit-id"
        assert problem == Problem(3, "reservation box", "", reason)

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ("hardware = 00:11:22:33:44:55", "client-id = x"),
            ("hardware = 00:11:22:33:44:55", "circuit-id = x"),
            ("hardware = 00:11:22:33:44:55", "remote-id = x"),
            ("client-id = x", "circuit-id = y"),
        ],
    )
    def test_reservation_for_two(self, first, second):
        """One client has one key, and both keys are named."""
        problem = only_problem_of(f"[reservation box]\n{first}\n{second}")
        assert problem == Problem(
            3,
            "reservation box",
            second.split()[0],
            f"one client, one key: there is {first.split()[0]} too",
        )

    def test_address_twice(self):
        """An address is reserved once."""
        box = "address = 192.0.2.7\nhardware = 00:11:22:33:44:5"
        text = f"{OFFICE}[reservation a]\n{box}1\n[reservation b]\n{box}2\n"
        reason = "192.0.2.7 is reserved in [reservation a] too"
        assert only_problem_of(text) == Problem(7, "reservation b", "address", reason)

    @pytest.mark.parametrize(
        ("who", "key"),
        [
            ("hardware = 00:11:22:33:44:55", "hardware"),
            ("client-id = box", "client-id"),
            ("circuit-id = port7", "circuit-id"),
            ("circuit-id = port7\nremote-id = switch", "circuit-id"),
            ("remote-id = switch", "remote-id"),
        ],
    )
    def test_client_twice(self, who, key):
        """A client has one reservation in a subnet, and the place is that of its key."""
        text = (
            f"{OFFICE}[reservation a]\naddress = 192.0.2.7\n{who}\n"
            f"[reservation b]\naddress = 192.0.2.8\n{who}\n"
        )
        problem = only_problem_of(text)
        line = text.splitlines().index(who.splitlines()[0], 5) + 1
        reason = "this client is in [reservation a] too"
        assert problem == Problem(line, "reservation b", key, reason)

    def test_client_in_two_subnets(self):
        """TRAPS 45: a client may have an address in each subnet, and settings beside."""
        who = "hardware = 00:11:22:33:44:55\n"
        text = (
            f"{OFFICE}[subnet b]\nnetwork = 10.0.0.0/24\n"
            f"[reservation a]\n{who}address = 192.0.2.7\n"
            f"[reservation b]\n{who}address = 10.0.0.7\n"
            f"[reservation c]\n{who}boot-file = x\n"
        )
        assert len(parse(text).reservations) == 3

    def test_role_twice(self):
        """Two lines for one certificate are a mistake, however they are spaced."""
        problem = only_problem_of("[control]\nrole x = list\nrole  x = reserve")
        assert problem.line == 3
        assert "twice" in problem.reason


class TestAllAtOnce:
    """All mistakes are reported together, in the order of the file."""

    TEXT = """\
lost = 1
[server]
port = 70000
portt = 67

[subnet office]
network = 192.0.2.0/24
lease-time = soon
pools = 192.0.2.200 - 192.0.3.9
option.routers = gate

[subnet hall]
network = 192.0.2.0/25
color = green

[reservation box]
address = 10.0.0.1
hardware = 00:11:22:33:44:55

[nonsense]
oops
"""

    def test_lines(self):
        """Every mistake is there, each with its line, sorted."""
        problems = problems_of(self.TEXT)
        places = [(each.line, each.section, each.key) for each in problems]
        overlap = {(7, "subnet office", "network"), (13, "subnet hall", "network")}
        assert len(overlap & set(places)) == 1
        assert [place for place in places if place not in overlap] == [
            (1, "", "lost"),
            (3, "server", "port"),
            (4, "server", "portt"),
            (8, "subnet office", "lease-time"),
            (9, "subnet office", "pools"),
            (10, "subnet office", "option.routers"),
            (14, "subnet hall", "color"),
            (17, "reservation box", "address"),
            (20, "nonsense", ""),
            (21, "nonsense", ""),
        ]
        assert [each.line for each in problems] == sorted(e.line for e in problems)
        assert all(each.reason for each in problems)

    def test_text(self):
        """The error's text has a line for each mistake, with the file's name above."""
        with pytest.raises(ConfigError) as caught:
            parse(self.TEXT, "dhcp.ini")
        first, *rest = str(caught.value).splitlines()
        assert first == "dhcp.ini: 11 mistakes; nothing starts"
        assert rest == [f"  {problem}" for problem in caught.value.problems]
        assert rest[1] == (
            "  line 3: [server] port: '70000' is not a port from 1 to 65534"
        )

    def test_one(self):
        """One mistake is not called many, and a text without a name has none."""
        with pytest.raises(ConfigError) as caught:
            parse("x = 1")
        assert str(caught.value) == (
            "1 mistake; nothing starts\n  line 1: x: stands before any [section]"
        )

    @pytest.mark.parametrize(
        ("problem", "text"),
        [
            (Problem(3, "server", "port", "no"), "line 3: [server] port: no"),
            (Problem(3, "server", "", "no"), "line 3: [server] no"),
            (Problem(3, "", "port", "no"), "line 3: port: no"),
            (Problem(0, "", "", "no"), "no"),
        ],
    )
    def test_problem(self, problem, text):
        """A mistake in words leaves out what there is not."""
        assert str(problem) == text

    def test_is_a_value_error(self):
        """Who catches ValueError catches it."""
        assert issubclass(ConfigError, ValueError)

    @pytest.mark.parametrize(
        "text",
        [
            "[\x1b[31m]\n",
            "[server]\n\x1b[31m = 1\n",
            "[server]\nport = \x1b[31m\n",
            "[subnet \x1b[31m]\n",
            "[\x1b[31m\n",
        ],
    )
    def test_control_characters(self, text):
        """No line of the file puts control characters into the log."""
        with pytest.raises(ConfigError) as caught:
            parse(text)
        assert all(line.isprintable() for line in str(caught.value).splitlines())


class TestValues:
    """What the keys mean."""

    @pytest.mark.parametrize(
        ("text", "seconds"),
        [
            ("1", 1),
            ("90", 90),
            ("0090", 90),
            ("30s", 30),
            ("5m", 300),
            ("12h", 43200),
            ("7d", 604800),
            ("2w", 1209600),
            ("1d12h", 129600),
            ("1h1h", 7200),
            ("0h5s", 5),
            (" 12H ", 43200),
            ("4294967294", 2**32 - 2),
            ("infinite", 2**32 - 1),
            ("Infinite", 2**32 - 1),
        ],
    )
    def test_duration(self, text, seconds):
        """Seconds from what people write; TRAPS 43: infinite is a time of its own."""
        assert parse_duration(text) == seconds

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "h",
            "1.5h",
            "-1",
            "+1",
            "1 h",
            "h1",
            "1y",
            "12h30",
            "never",
            "\u0661h",
            "²",
            "1_0",
        ],
    )
    def test_no_duration(self, text):
        """Anything else is refused with examples."""
        with pytest.raises(ValueError, match="is not a time like 30s, 12h, 7d or inf"):
            parse_duration(text)

    @pytest.mark.parametrize(
        "text", ["0", "0s", "0d0h", "4294967295", "4294967296", "9999999w"]
    )
    def test_duration_out_of_range(self, text):
        """TRAPS 43: no time is 0, and none is infinite by accident."""
        with pytest.raises(ValueError, match="is not between 1 second and 4294967294"):
            parse_duration(text)

    def test_times_of_a_subnet(self):
        """Each time has its key; infinite is allowed."""
        subnet = office(
            "lease-time = 1h",
            "min-lease-time = 10m",
            "max-lease-time = infinite",
            "offer-hold = 1m",
            "decline-hold = 2h",
        )
        times = (subnet.lease_time, subnet.min_lease_time, subnet.max_lease_time)
        assert times == (3600, 600, 2**32 - 1)
        assert (subnet.offer_hold, subnet.decline_hold) == (60, 7200)

    def test_defaults_of_a_subnet(self):
        """A network alone is a subnet."""
        subnet = office()
        assert (subnet.ranges, subnet.relays, subnet.excluded) == ((), set(), set())
        assert (subnet.interface, subnet.shared_network) == (None, None)
        times = (subnet.lease_time, subnet.offer_hold, subnet.decline_hold)
        assert times == (43200, 30, 86400)
        assert (subnet.broadcast_always, subnet.selectable) == (False, False)
        assert not subnet.options
        assert not subnet.settings

    @pytest.mark.parametrize("value", ["no", "No", "false", "off", "0"])
    def test_no(self, value):
        """The ways to say no."""
        text = f"[server]\nauthoritative = {value}\n"
        assert parse(text).authoritative is False
        assert office(f"probe = {value}", f"ddns = {value}", f"rapid-commit = {value}")
        assert office(f"subnet-selection = {value}").selectable is False

    @pytest.mark.parametrize("value", ["yes", "YES", "true", "on", "1"])
    def test_yes(self, value):
        """The ways to say yes."""
        assert parse(f"[server]\nauthoritative = {value}").authoritative is True
        assert office(f"subnet-selection = {value}").selectable is True

    @pytest.mark.parametrize(
        ("value", "names"),
        [
            ("*", ("*",)),
            ("eth0", ("eth0",)),
            ("eth1, eth0,eth1  br0.7", ("eth1", "eth0", "br0.7")),
        ],
    )
    def test_interfaces(self, value, names):
        """Names by commas or blanks, each once."""
        assert parse(f"[server]\ninterfaces = {value}").interfaces == names

    @pytest.mark.parametrize("port", [1, 67, 1067, 65534])
    def test_port(self, port):
        """Any port that has a neighbour above, where clients are answered."""
        assert parse(f"[server]\nport = {port}").port == port

    def test_state(self, monkeypatch, tmp_path):
        """A relative state directory is that of where the server was started."""
        monkeypatch.chdir(tmp_path)
        assert parse("[server]\nstate = var/state").state == tmp_path / "var" / "state"

    def test_relays(self):
        """Relays by commas or blanks."""
        subnet = office("relays = 10.9.9.1, 10.9.9.2 10.9.9.3,10.9.9.1")
        assert subnet.relays == {ip("10.9.9.1"), ip("10.9.9.2"), ip("10.9.9.3")}

    @pytest.mark.parametrize(
        ("network", "pool"),
        [
            ("192.0.2.0/31", "192.0.2.0 - 192.0.2.1"),
            ("192.0.2.1/32", "192.0.2.1"),
            ("192.0.2.0/255.255.255.252", "192.0.2.1 - 192.0.2.2"),
        ],
    )
    def test_small_networks(self, network, pool):
        """RFC 3021: a network without a broadcast address may use all it has."""
        (subnet,) = parse(f"[subnet p]\nnetwork = {network}\npools = {pool}").subnets
        assert subnet.ranges[0][1] - subnet.ranges[0][0] + 1 == subnet.size

    def test_reservation_in_a_small_network(self):
        """RFC 3021: so may a reservation."""
        text = (
            "[subnet p]\nnetwork = 192.0.2.0/31\n"
            "[reservation a]\nhardware = 00:11:22:33:44:55\naddress = 192.0.2.0\n"
        )
        assert parse(text).reservations[0].address == ip("192.0.2.0")

    @pytest.mark.parametrize(
        ("line", "code", "data"),
        [
            ("option.routers = 192.0.2.1", 3, b"\xc0\0\2\1"),
            ("option.3 = 192.0.2.1, 192.0.2.2", 3, b"\xc0\0\2\1\xc0\0\2\2"),
            ("option.03 = hex:c0000201", 3, b"\xc0\0\2\1"),
            ("Option.Routers = hex:c0:00:02:01", 3, b"\xc0\0\2\1"),
            ("option.interface-mtu = 1500", 26, b"\x05\xdc"),
            ("option.time-offset = -3600", 2, b"\xff\xff\xf1\xf0"),
            ("option.ip-forwarding = false", 19, b"\0"),
            ("option.domain-name = office.example", 15, b"office.example"),
            ("option.domain-search = a.example, b", 119, b"\1a\7example\0\1b\0"),
            ("option.224 = hex:01020304", 224, b"\1\2\3\4"),
            ("option.224 = 01 02", 224, b"\1\2"),
            ("option.224 = hex:", 224, b""),
            ("option.43 = hex:0104c0000201ff", 43, b"\1\4\xc0\0\2\1\xff"),
            ("option.v6-only-preferred = 300", 108, b"\0\0\1\x2c"),
            (
                "option.classless-static-route = 10.0.0.0/8 - 192.0.2.1, 0.0.0.0/0 - 192.0.2.1",
                121,
                b"\x08\x0a\xc0\0\2\1\0\xc0\0\2\1",
            ),
        ],
    )
    def test_options(self, line, code, data):
        """Options by name and by number, in their shapes or as raw bytes."""
        assert office(line).options == {code: data}
        who = "hardware = 00:11:22:33:44:55"
        assert reserved(who, line).settings == Settings({code: data})

    def test_routers_are_excluded(self):
        """TRAPS 49: no router's address is given away."""
        subnet = office("option.routers = 192.0.2.1, 192.0.2.2")
        assert subnet.excluded == {ip("192.0.2.1"), ip("192.0.2.2")}


class TestStorage:
    """What surrounds the storage."""

    @staticmethod
    def around(*lines, storage="memory:"):
        """The section with these lines, read."""
        text = f"[server]\nstate = /state\nstorage = {storage}\n[storage]\n"
        return parse(text + "\n".join(lines)).around

    def test_default(self):
        """An empty section says what none says."""
        assert self.around() == StorageConfig() == parse("").around

    @pytest.mark.parametrize(
        ("line", "field", "value"),
        [
            ("history = infinite", "history", inf),
            ("history = 1w", "history", 604800.0),
            ("deadline = 1m", "deadline", 60.0),
            ("outstanding = 1", "outstanding", 1),
            ("outstanding = 100000", "outstanding", 100_000),
            ("fallback = stale", "stale", True),
            ("fallback = silence", "stale", False),
            ("client-limit = 1 per 1d", "client_limit", Rate(1, 86400.0)),
            ("client-limit = none", "client_limit", None),
            ("port-limit = 999999  per  10", "port_limit", Rate(999_999, 10.0)),
            ("reservations = http://[::1]:8080", "reservations", "http://[::1]:8080"),
            ("reservations = HTTPS://a/b?c=d", "reservations", "HTTPS://a/b?c=d"),
        ],
    )
    def test_value(self, line, field, value):
        """Each key by itself; the others keep their defaults."""
        got = self.around(line)
        assert getattr(got, field) == value
        assert type(getattr(got, field)) is type(value)
        assert got == replace(StorageConfig(), **{field: value})

    @pytest.mark.parametrize("key", ["token-file", "authority"])
    @pytest.mark.parametrize(
        ("path", "meant"),
        [("a.pem", "/state/a.pem"), ("/a.pem", "/a.pem"), ("b/../a", "/state/b/../a")],
    )
    def test_paths(self, key, path, meant):
        """They begin in the state directory, wherever the server is started."""
        got = self.around(f"{key} = {path}", storage="https://who.example/")
        assert getattr(got, key.partition("-")[0]) == meant

    @pytest.mark.parametrize("scheme", ["memory", "sqlite", "python"])
    @pytest.mark.parametrize("key", ["token-file", "authority"])
    def test_for_no_web_service(self, scheme, key):
        """A secret that nobody is told is a mistake."""
        problem = only_problem_of(
            f"[storage]\n{key} = x\n[server]\nstorage = {scheme}:a:b"
        )
        assert (problem.line, problem.section, problem.key) == (2, "storage", key)
        assert problem.reason.startswith("is for a web service, and none is asked")

    def test_default_storage_is_no_web_service(self):
        """Where no storage is named it is a file."""
        problem = only_problem_of("[server]\n[storage]\ntoken-file = x")
        assert problem.key == "token-file"

    @pytest.mark.parametrize(
        ("storage", "line"),
        [
            ("http://a/", ""),
            ("https://a/", ""),
            ("HTTPS://a/", ""),
            ("memory:", "reservations = https://a/"),
            ("sqlite:a", "reservations = http://a/"),
            ("csv:a", ""),
        ],
    )
    def test_for_a_web_service(self, storage, line):
        """A token is for any; what a plug-in wants is its own affair."""
        got = self.around("token-file = x", line, storage=storage)
        assert got.token == "/state/x"

    @pytest.mark.parametrize(
        ("storage", "line"),
        [("http://a/", ""), ("sqlite:a", "reservations = HTTP://a/")],
    )
    def test_authority_without_tls(self, storage, line):
        """Who may sign is no question where nothing is signed."""
        text = f"[server]\nstorage = {storage}\n[storage]\nauthority = x\n{line}"
        reason = "is for https://, and the URL begins with http://"
        assert only_problem_of(text) == Problem(4, "storage", "authority", reason)

    @pytest.mark.parametrize("storage", ["http://a/", "HTTPS://a/", "python:a:b"])
    def test_nobody_asks_for_reservations(self, storage):
        """Only a pool of ours asks another system who a client is."""
        problem = only_problem_of(
            f"[server]\nstorage = {storage}\n[storage]\nreservations = http://a/"
        )
        assert (problem.line, problem.key) == (4, "reservations")
        scheme = storage.partition(":")[0].lower()
        assert problem.reason.startswith(f"storage = {scheme}: decides everything")

    def test_one_bad_url_is_one_mistake(self):
        """A URL that cannot be read is one all the same."""
        lines = "token-file = x\nauthority = y\n"
        for text in (
            f"[storage]\n{lines}reservations = nonsense",
            "[server]\nstorage = http://\n[storage]\ntoken-file = x",
            f"[server]\nstorage = https://a:b\n[storage]\n{lines}",
        ):
            assert "is not a URL" in only_problem_of(text).reason

    def test_all_at_once(self):
        """Mistakes in values, of keys and between keys, in the order of the file."""
        text = "[storage]\nhistory = x\nlimit = 1\ntoken-file = a\nfallback = no\n"
        keys = ["history", "limit", "token-file", "fallback"]
        assert [each.key for each in problems_of(text)] == keys


class TestClasses:
    """Settings that have a name."""

    def test_boot_file_only(self):
        """What a class does not say it leaves to the subnet."""
        text = "[class a b]\nboot-file = x\n[class c]\noption.3 = 192.0.2.1"
        assert parse(text).classes == {
            "a b": Settings(boot_file="x"),
            "c": Settings({3: b"\xc0\0\2\1"}),
        }

    def test_empty(self):
        """A class may say nothing yet."""
        assert parse("[class a]").classes == {"a": Settings()}

    def test_twice(self):
        """Two of one name are a mistake, as with every section."""
        problem = only_problem_of("[class a]\n[class a]")
        assert problem.reason == "this section is here twice"

    def test_of_a_reservation(self):
        """The client gets what the class says; the class may come later."""
        got = parse(
            f"{OFFICE}[reservation box]\nclient-id = x\nclass = a b\n[class a b]"
        )
        assert got.reservations[0].settings == Settings(client_class="a b")

    def test_of_a_reservation_that_is_not_there(self):
        """A name that nobody has is a mistake."""
        problem = only_problem_of(
            f"{OFFICE}[reservation box]\nclient-id = x\nclass = b\n[class a]"
        )
        reason = "there is no [class b]"
        assert problem == Problem(5, "reservation box", "class", reason)

    def test_match_hides_nothing(self):
        """Each key of matching is named, and so are other mistakes."""
        text = "[class a]\nmatch.x = 1\nmatch.y = 2\ncolor = red\noption.3 = x"
        keys = ["match.x", "match.y", "color", "option.3"]
        assert [each.key for each in problems_of(text)] == keys


class TestControl:
    """The control channel."""

    @pytest.mark.parametrize(
        "listen", ["tcp:6768", "tcp:1:interface=10.0.0.1", "unix:a.sock:mode=660", ""]
    )
    def test_listen(self, listen):
        """An endpoint, or nothing for none."""
        assert parse(f"[control]\nlisten = {listen}").control.listen == listen

    def test_certificates(self):
        """An empty file name is the default, as if the key were not there."""
        text = "[control]\ncertificate = \nauthority = a.pem\n"
        control = parse(text).control
        assert (control.certificate, control.authority) == (None, "a.pem")
        assert control.listen == ControlConfig().listen

    @pytest.mark.parametrize(
        ("value", "verbs", "networks"),
        [
            ("list", {"list"}, ()),
            ("reserve, cancel,list revoke  status", None, ()),
            ("list in 10.0.0.0/8", {"list"}, ("10.0.0.0/8",)),
            (
                "list,status in 10.0.0.0/8, 192.0.2.0/24 192.0.2.7",
                {"list", "status"},
                ("10.0.0.0/8", "192.0.2.0/24", "192.0.2.7/32"),
            ),
        ],
    )
    def test_role(self, value, verbs, networks):
        """Verbs by commas or blanks, then where; nowhere named is everywhere."""
        (role,) = parse(f"[control]\nrole  netbox = {value}").control.roles
        everything = {"reserve", "cancel", "list", "revoke", "status"}
        assert role == Role(
            "netbox",
            frozenset(verbs or everything),
            tuple(IPv4Network(each) for each in networks),
        )

    def test_roles(self):
        """Several roles, in order; names may have blanks and dots."""
        text = "[control]\nrole b.example = list\nrole a c = status\n"
        names = [role.name for role in parse(text).control.roles]
        assert names == ["b.example", "a c"]

    @pytest.mark.parametrize("where", [",", ", ,"])
    def test_networks_left_out(self, where):
        """Who writes ``in`` and then no network does not mean everywhere."""
        problem = only_problem_of(f"[control]\nrole x = list in {where}\n")
        assert (problem.line, problem.key) == (2, "role x")

    def test_case_of_a_role(self):
        """A certificate's name keeps its case: common names are compared as they are."""
        (role,) = parse("[control]\nrole NetBox = list").control.roles
        assert role.name == "NetBox"

    def test_one_bad_role(self):
        """A bad role is a mistake, and the good ones beside it are not."""
        problem = only_problem_of("[control]\nrole a = list\nrole b = x\nrole c = list")
        assert (problem.line, problem.key) == (3, "role b")


class TestReservations:
    """The file's own reservations."""

    @pytest.mark.parametrize(
        ("line", "field", "value"),
        [
            ("hardware = 00:11:22:33:44:55", "hardware", "01001122334455"),
            ("hardware = 00-11-22-33-44-55", "hardware", "01001122334455"),
            ("hardware = 0011.2233.4455", "hardware", "01001122334455"),
            ("hardware = 32/00:11:22:33:44:55:66:77", "hardware", "200011223344556677"),
            ("client-id = hex:01:00:11", "client-id", "010011"),
            ("client-id = box", "client-id", "626f78"),
            ("circuit-id = hex:0004", "circuit-id", "0004"),
            ("circuit-id = eth0/7", "circuit-id", "657468302f37"),
            ("remote-id = hex:0000", "remote-id", "0000"),
        ],
    )
    def test_who(self, line, field, value):
        """A client is named by any of the keys, as text or as hex."""
        got = reserved(line)
        fields = {
            "hardware": got.hardware,
            "client-id": got.client_id,
            "circuit-id": got.circuit_id,
            "remote-id": got.remote_id,
        }
        assert fields.pop(field) == bytes.fromhex(value)
        assert not any(fields.values())

    def test_port(self):
        """Circuit and remote together are one key."""
        got = reserved("circuit-id = port7", "remote-id = switch")
        assert got.port == (b"port7", b"switch")

    def test_everything(self):
        """An address, a name, boot fields and options, in a pool or outside."""
        got = reserved(
            "client-id = box",
            "address = 192.0.2.7",
            "hostname = box",
            "next-server = 192.0.2.5",
            "boot-file = boot.bin",
            "server-name = srv",
            "option.domain-name = own",
        )
        assert (got.address, got.hostname) == (ip("192.0.2.7"), "box")
        assert got.settings == Settings(
            {15: b"own"}, ip("192.0.2.5"), "boot.bin", "srv", "box"
        )

    def test_settings_only(self):
        """A reservation may be without an address, and an address without settings."""
        assert reserved("client-id = box", "boot-file = b").address is None
        assert reserved("client-id = box", "address = 192.0.2.7").settings is None

    def test_hostname(self):
        """The name is sent as option 12, unless that option is set itself."""
        got = reserved("client-id = box", "hostname = a", "option.host-name = b")
        assert got.settings == Settings({12: b"b"})


class TestLoad:
    """Reading a file."""

    def test_file(self, tmp_path):
        """A file is read as UTF-8, with or without a byte order mark."""
        path = tmp_path / "dhcp.ini"
        path.write_bytes(
            b"\xef\xbb\xbf[subnet B\xc3\xbcro]\r\nnetwork = 10.0.0.0/8\r\n"
        )
        assert load(path).subnets[0].name == "Büro"
        assert load(str(path)).subnets[0].name == "Büro"

    def test_mistakes(self, tmp_path):
        """The error begins with the file's name."""
        path = tmp_path / "dhcp.ini"
        path.write_text("[server]\nport = 0\n")
        with pytest.raises(ConfigError) as caught:
            load(path)
        assert str(caught.value).startswith(
            f"{path}: 1 mistake; nothing starts\n  line 2"
        )

    def test_no_file(self, tmp_path):
        """A file that is not there is a mistake like any other."""
        with pytest.raises(ConfigError) as caught:
            load(tmp_path / "none.ini")
        reason = "cannot be read: No such file or directory"
        assert caught.value.problems == [Problem(0, "", "", reason)]

    def test_directory(self, tmp_path):
        """So is one that is not a file."""
        with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
            load(tmp_path)

    def test_other_encoding(self, tmp_path):
        """So is one that is not UTF-8."""
        path = tmp_path / "dhcp.ini"
        path.write_bytes("[subnet Büro]".encode("latin-1"))
        with pytest.raises(ConfigError, match="cannot be read: 'utf-8' codec"):
            load(path)


HEADINGS = [
    *("[server]", "[control]", "[storage]", "[subnet a]", "[class a]"),
    *("[reservation a]", "[subnet b]", "["),
]
KEYS = [
    *("interfaces", "port", "state", "listen", "role a", "role admin", "network"),
    *("pools", "relays", "lease-time", "max-lease-time", "broadcast", "interface"),
    *("hardware", "client-id", "circuit-id", "remote-id", "address", "hostname"),
    *("option.routers", "option.3", "option.domain-search", "option.121", "option.53"),
    *("history", "deadline", "outstanding", "fallback", "client-limit", "port-limit"),
    *("reservations", "token-file", "authority", "class", "match.hardware", "storage"),
]
VALUES = [
    *("192.0.2.0/24", "192.0.2.10 - 192.0.2.20", "192.0.2.15", "10.0.0.0/8", "eth0"),
    *(
        "00:11:22:33:44:55",
        "infinite",
        "1h",
        "yes",
        "reserve in 10.0.0.0/8",
        "hex:0102",
    ),
    *("http://a/", "20 per 10s", "none", "stale", "a", "https://[", "python:a:b"),
    *("10.0.0.0/8 - 192.0.2.1", "a.example, b.example", "0", "-1", "", ",", "9" * 30),
]


class TestAnyText:
    """Whatever the file holds: a configuration, or a ConfigError."""

    @staticmethod
    def check(text):
        """Nothing but ConfigError comes out, and its mistakes have places."""
        try:
            config = parse(text)
        except ConfigError as error:
            problems = error.problems
        else:
            assert isinstance(config, Config)
            return
        lines = [problem.line for problem in problems]
        assert lines
        assert lines == sorted(lines)
        assert 0 < lines[0] <= lines[-1] <= len(text.splitlines())
        assert all(problem.reason for problem in problems)

    @UNTIMED
    @given(st.text())
    def test_text(self, text):
        """Any text."""
        self.check(text)

    @UNTIMED
    @given(
        st.lists(
            st.one_of(
                st.sampled_from(HEADINGS),
                st.tuples(
                    st.sampled_from(KEYS),
                    st.sampled_from(VALUES) | st.text(max_size=12),
                ).map(" = ".join),
                st.text(max_size=12),
                st.sampled_from(VALUES).map("  {}".format),
            ),
            max_size=25,
        )
    )
    def test_almost_right(self, lines):
        """Lines that mostly mean something."""
        self.check("\n".join(lines))

    @UNTIMED
    @given(st.sampled_from(KEYS), st.text(max_size=30))
    def test_values(self, key, value):
        """Any value of any key."""
        for heading in HEADINGS[:-2]:
            self.check(
                f"{heading}\nnetwork = 10.0.0.0/8\nhardware = 0:1\n{key} = {value}"
            )

    @UNTIMED
    @given(st.text(max_size=12))
    def test_durations(self, text):
        """Any duration is 1 second or more, or a ValueError with a reason."""
        try:
            seconds = parse_duration(text)
        except ValueError as error:
            assert str(error)  # noqa: PT017 - either outcome is right
        else:
            assert 0 < seconds < 2**32

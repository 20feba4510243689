"""Lease files of other servers, and ours: what they say, whatever is in them.

The files in data/leases were written by ISC dhcpd 4.4.3, Kea 2.2.0 and dnsmasq 2.90, for the
clients that are listed here.
"""

from __future__ import annotations

import csv
import io
import json
from ipaddress import IPv4Address
from math import inf
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings, strategies as st

from dhcptwist.control.transfer import row_of
from dhcptwist.control.values import lease_fields
from dhcptwist.lease import Lease, LeaseState, format_hardware, parse_hardware
from dhcptwist.leasefiles import dhcpd, kea
from dhcptwist.leasefiles.found import NOBODY
from dhcptwist.leasefiles.kinds import READERS, recognised
from dhcptwist.leasefiles.rows import FIELDS, lease_from
from dhcptwist.testing import network


DATA = Path(__file__).parent / "data" / "leases"
NOW = 1795592300.0  # a moment after the files were written
BOUND, RELEASED, DECLINED = LeaseState.BOUND, LeaseState.RELEASED, LeaseState.DECLINED


def text_of(name: str) -> str:
    """Give a file's text as it is read for a reader."""
    return (DATA / name).read_text("utf-8", "surrogateescape")


def read(kind: str, text: str, when: float = NOW) -> dict[str, Lease]:
    """Give the leases of a text by address; all of its lines must make sense."""
    found = list(READERS[kind](text.splitlines(keepends=True), when))
    assert [each for each in found if each.lease is None] == []
    leases = {str(IPv4Address(each.lease.address)): each.lease for each in found}
    assert len(leases) == len(found), "an address comes twice"
    return leases


def problems(kind: str, text: str) -> list[tuple[int, str]]:
    """Give the lines of a text that make no sense, and why."""
    found = READERS[kind](text.splitlines(keepends=True), NOW)
    return [(each.line, each.problem) for each in found if each.lease is None]


class Who(NamedTuple):
    """One of the clients that the files were made with."""

    hardware: str
    key: bytes = b""
    hostname: str = ""
    relay: bytes = b""


DUID = bytes.fromhex("ff000000010001000102030405060708090a0b0c")
TEXT = b'\0he said "hi"\\;{}#'
INFINIBAND = b"\xff\0\0\0\1\0\3\0\1abcdef"
CLIENTS = [
    Who("02:00:00:00:01:01"),
    Who("02:00:00:00:01:02", b"\x01\x02\0\0\0\x01\x02"),
    Who("02:00:00:00:01:03", DUID),
    Who("02:00:00:00:01:04", TEXT),
    Who("02:00:00:00:01:05", b"", "lap-top"),
    Who("02:00:00:00:01:06", b"", 'a,b "q" \\ \\xe4{}; #x'),
    Who("02:00:00:00:01:0a", b"", "a&#x2cb,c&d"),
    Who("02:00:00:00:01:07", b"", "", b"\x01\x04\0\x01\x02\x03\x02\x05eth,0"),
    Who("02:00:00:00:01:17", b"", "", b"\x01\x04eth1\x02\x03sw1"),
    Who("02:00:00:00:01:08"),
    Who("", INFINIBAND),
    Who("6/02:00:00:00:01:09"),
    Who("7/09"),
    Who("15/02:00:00:00:01:0f"),
]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("dhcpd.leases", "dhcpd"),
        ("dhcpd-local.leases", "dhcpd"),
        ("kea-leases4.csv", "kea"),
        ("dnsmasq.leases", "dnsmasq"),
    ],
)
class TestRealFiles:
    """What the servers have written of the same clients."""

    def test_is_recognised(self, name, kind):
        """By how it begins."""
        assert recognised(text_of(name)[:4096]) == kind

    @pytest.mark.parametrize("who", CLIENTS, ids=lambda who: who.hardware or "none")
    def test_client(self, name, kind, who):
        """Each is known by its identifier, or by type and hardware address."""
        hardware = who.hardware
        if kind == "kea":  # whose file has no types
            hardware = hardware.rpartition("/")[2]
            hardware = "1/09" if hardware == "09" else hardware
        expected = (
            b""
            if not hardware
            else bytes([1, 9])
            if hardware == "1/09"
            else parse_hardware(hardware)
        )
        leases = read(kind, text_of(name)).values()
        (lease,) = [
            each
            for each in leases
            if each.hardware == expected and (expected or each.state == BOUND)
        ]
        assert lease.key == (who.key or expected)
        assert lease.state == BOUND
        # dhcpd drops names that are none; dnsmasq, too, and it knows no relays' ports.
        plain = who.hostname == "lap-top" or kind == "kea"
        if kind == "dhcpd" and who.hostname.startswith("a&"):
            plain = True
        assert lease.hostname == (who.hostname if plain else "")
        assert lease.relay == (b"" if kind == "dnsmasq" else who.relay)

    def test_times(self, name, kind):
        """All have 600 seconds; only one that asked dhcpd for ever has that."""
        leases = read(kind, text_of(name)).values()
        for lease in leases:
            if lease.state != BOUND:
                continue
            if kind == "dhcpd" and lease.hardware[-1:] == b"\x08":
                assert lease.expires == inf
                continue
            assert NOW - 200 < lease.expires - 600 < NOW + 700
            # dnsmasq does not say when it began.
            since = 0.0 if kind == "dnsmasq" else lease.expires - 600
            assert lease.since == since

    def test_released_and_declined(self, name, kind):
        """The first remembers who had an address; Kea forgets who declined one."""
        leases = read(kind, text_of(name))
        states = {key: each for key, each in leases.items() if each.state != BOUND}
        if kind == "dnsmasq":
            assert not states
            return
        declined = states.pop("192.168.100.25")
        assert (declined.state, declined.key) == (DECLINED, NOBODY)
        assert declined.expires == declined.since + 86400
        if kind == "dhcpd":
            released = states.pop("192.168.100.24")
            assert released.state == RELEASED
            assert released.key == parse_hardware("02:00:00:00:02:07")
            assert released.expires == released.since > 0
        assert not states


def test_more_of_kea():
    """Leases that were reclaimed, renewed since, deleted; and those for ever."""
    leases = read("kea", text_of("kea-reclaimed.csv"))
    assert {address: lease.state for address, lease in leases.items()} == {
        "192.168.100.10": RELEASED,
        "192.168.100.11": BOUND,
    }
    assert leases["192.168.100.11"].expires == 1795592877.0
    leases = read("kea", text_of("kea-infinite.csv"))
    assert {lease.expires for lease in leases.values()} == {inf}
    assert list(leases) == ["192.168.100.10", "192.168.100.11"]


def test_more_of_dnsmasq():
    """Leases for ever."""
    leases = read("dnsmasq", text_of("dnsmasq-infinite.leases"))
    assert {lease.expires for lease in leases.values()} == {inf}
    assert leases["192.168.100.30"].hostname == "one"


# --- dhcpd ------------------------------------------------------------------------


def block(*statements: str, address: str = "10.0.0.5") -> str:
    """Write a block of dhcpd's, with hardware if it has none."""
    return f"lease {address} {{\n" + "".join(f"  {s}\n" for s in statements) + "}\n"


ETHERNET = "hardware ethernet 02:00:00:00:00:01;"
MINE = parse_hardware("02:00:00:00:00:01")
TIMES = ("starts 3 2026/11/25 07:36:35;", "ends 3 2026/11/25 07:46:35;")


def lease_of(text: str) -> Lease:
    """Read the one lease of a text of dhcpd's."""
    (lease,) = read("dhcpd", text).values()
    return lease


class TestDhcpd:
    """dhcpd.leases(5), and what people make of it."""

    @pytest.mark.parametrize(
        ("state", "expected"),
        [
            ("active", BOUND),
            ("free", RELEASED),
            ("backup", RELEASED),
            ("expired", RELEASED),
            ("released", RELEASED),
            ("reset", RELEASED),
            ("abandoned", DECLINED),
        ],
    )
    def test_states(self, state, expected):
        """Each of its states is one of ours; the next one is another matter."""
        lease = lease_of(
            block(
                ETHERNET,
                *TIMES,
                f"binding state {state};",
                "next binding state free;",
                "rewind binding state active;",
            )
        )
        assert lease.state == expected
        assert (lease.since, lease.expires) == (1795592195.0, 1795592795.0)

    def test_the_last_word(self):
        """What stands further down is true, whatever stood above."""
        leases = read(
            "dhcpd",
            block(ETHERNET, *TIMES, "binding state active;")
            + block(ETHERNET, address="10.0.0.6")
            + block("hardware ethernet 2:0:0:0:0:2;", *TIMES, "binding state free;"),
        )
        assert leases["10.0.0.5"].state == RELEASED
        assert leases["10.0.0.5"].hardware == parse_hardware("02:00:00:00:00:02")
        assert leases["10.0.0.6"].state == BOUND

    @pytest.mark.parametrize(
        ("words", "seconds"),
        [
            ("ends never;", inf),
            ("ends epoch 1795592795; # Wed Nov 25 07:46:35 2026", 1795592795.0),
            ("ends 0 2026/1/2 3:04:05;", 1767323045.0),
            ("tstp 3 2026/11/25 07:46:35;", inf),
        ],
    )
    def test_times(self, words, seconds):
        """In UTC, by the calendar or by the clock; or never."""
        assert lease_of(block(ETHERNET, words)).expires == seconds

    def test_ended_without_a_time(self):
        """It ended when it began, for all we know."""
        text = block(ETHERNET, TIMES[0], "ends never;", "binding state free;")
        assert lease_of(text).expires == 1795592195.0

    @pytest.mark.parametrize(
        ("words", "data"),
        [
            (r'uid "\001\002\000\000\000\000\001";', MINE),
            ("uid 01:02:00:00:00:00:01;", MINE),
            ("uid 1:2:0:0:0:0:1;", MINE),
            (r'uid "a\"b\\c;}#\7\18";', b'a"b\\c;}#\x07\x018'),
            (r'uid "\777";', b"\xff"),
            ('uid "smørrebrød";', "smørrebrød".encode()),
            ('uid "";', MINE),
            ("uid ;", MINE),
        ],
    )
    def test_identifiers(self, words, data):
        """Octal or hexadecimal; one made of type and address is the address."""
        lease = lease_of(block(words, ETHERNET, address="10.0.0.5"))
        assert lease.key == data
        assert (lease.key is lease.hardware) is (data == MINE)

    @pytest.mark.parametrize(
        ("words", "data"),
        [
            ("hardware ethernet 2:0:0:0:0:1;", MINE),
            ("hardware token-ring 02:00:00:00:00:01;", b"\x06" + MINE[1:]),
            ("hardware fddi 02:00:00:00:00:01;", b"\x08" + MINE[1:]),
            ("hardware unknown-7 09;", b"\x07\x09"),
            ("hardware 24 01:02;", b"\x18\x01\x02"),
            ("hardware infiniband ;", b""),
        ],
    )
    def test_hardware(self, words, data):
        """Of types that have names, and of those that have none."""
        assert lease_of(block('uid "\\000x";', words)).hardware == data

    def test_hostname(self):
        """It is printable, whatever the client called itself."""
        text = block(ETHERNET, r'client-hostname "a\033[31m\344\303\244\000";')
        assert lease_of(text).hostname == "a\\x1b[31m\\xe4ä"

    def test_relay(self):
        """The port is what option 82 would say."""
        text = block(
            ETHERNET,
            "option agent.remote-id 1:2:ff;",
            'option agent.circuit-id "eth;0";',
            "option agent.link-selection 10.0.0.1;",
            "option",
        )
        assert lease_of(text).relay == b"\x01\x05eth;0\x02\x03\x01\x02\xff"

    def test_what_else_there_is(self):
        """Scripts, flags and variables are none of our business."""
        text = block(
            ETHERNET,
            "reserved;",
            "bootp;",
            'set vendor-class-identifier = "a;}{";',
            "set ddns-txt = 12:ab; on release or expiry {",
            '  execute ("/bin/x", "uid", 3); if known { uid "no"; } else { ends never; }',
            "}",
            "uid 00:01; ends epoch 5; }",
        ).removesuffix("}\n")
        lease = lease_of(text)
        assert (lease.key, lease.expires) == (b"\0\1", 5.0)

    def test_other_blocks(self):
        """Neither DHCPv6, nor failover peers, nor hosts are leases."""
        text = (
            "# a comment with } and {\n"
            'server-duid "\\000{";\n'
            'failover peer "x" state {\n  my state normal at 3 2026/11/25 07:36:35;\n}\n'
            'ia-na "\\001{" {\n  iaaddr 2001:db8::1 { binding state active; }\n}\n'
            "host a { dynamic; hardware ethernet 02:00:00:00:00:09; }\n"
            "group { host b { fixed-address 10.0.0.9; } }\n"
        )
        assert list(read("dhcpd", text + block(ETHERNET))) == ["10.0.0.5"]

    def test_nobody(self):
        """An address that nobody ever had is no lease; a declined one is."""
        assert not read("dhcpd", block("binding state free;"))
        lease = lease_of(block("abandoned;"))
        assert (lease.state, lease.key, lease.expires) == (DECLINED, NOBODY, inf)

    @pytest.mark.parametrize(
        ("statement", "why"),
        [
            ("binding state active;", "neither a hardware address nor an identifier"),
            ("binding state lost;", "'binding state lost' is not known"),
            ("binding active;", "'binding active' is not known"),
            ("hardware", "neither"),
            ("hardware carrier-pigeon 01:02;", "carrier-pigeon"),
            ("hardware 256 01:02;", "256"),
            ("hardware ethernet 01:02 03;", "not known"),
            ("hardware ethernet 1:zz;", "'01:zz' is not hexadecimal"),
            ("hardware ethernet 123:4;", "'123:04' is not hexadecimal"),
            (f"hardware ethernet {':'.join(['01'] * 17)};", "longer than 16 bytes"),
            (f"uid {':'.join(['01'] * 256)};", "longer than 255 bytes"),
            (f'uid "{"x" * 256}";', "longer than 255 bytes"),
            ('uid "abc;', "does not end"),
            (f"{ETHERNET} ends 3 2026/13/25 07:46:35;", "is not a time"),
            (f"{ETHERNET} ends 3 1800/11/25 07:46:35;", "is not a time"),
            (f"{ETHERNET} ends 3 1970/1/1 -5:00:00;", "is not a time"),
            (f"{ETHERNET} ends 3 2026/11/25 07:60:00;", "is not a time"),
            (f"{ETHERNET} ends 3 2026/11/25 07:00:61;", "is not a time"),
            (f"{ETHERNET} ends 3 2026/11/25;", "is not a time"),
            (f"{ETHERNET} ends epoch -5;", "is not a time"),
            (f"{ETHERNET} ends tomorrow;", "is not a time"),
            (f"{ETHERNET} ends epoch 100000000001;", "in the far future"),
            (f"{ETHERNET} starts epoch 100000000001;", "in the far future"),
            (f"{ETHERNET} ends epoch soon;", "is not a time"),
            (f"{ETHERNET} ends epoch {'9' * 400};", "is not a time"),
        ],
    )
    def test_what_makes_no_sense(self, statement, why):
        """It is told with the line where its block begins; the others are read."""
        text = block(ETHERNET, address="10.0.0.4") + block(statement)
        found = list(dhcpd.read(text.splitlines(keepends=True), NOW))
        assert found[0].line == 4
        assert why in found[0].problem
        assert [each.lease.address & 255 for each in found[1:]] == [4]

    @pytest.mark.parametrize("address", ["10.0.0", "10.0.0.256", "0.0.0.0", "a", "\0"])
    def test_addresses(self, address):
        """An address that is none is told."""
        ((line, why),) = problems("dhcpd", block(ETHERNET, address=address))
        assert line == 1
        assert "address" in why

    def test_braces(self):
        """One that was lost costs its own lease, and no other."""
        text = (
            block(ETHERNET, address="10.0.0.1")
            + block(ETHERNET, address="10.0.0.2").removesuffix("}\n")
            + block(ETHERNET, address="10.0.0.3")
            + "}\n"
            + block(ETHERNET, "on expiry {", address="10.0.0.4")
            + block(ETHERNET, address="10.0.0.5")
            + "lease {\n}\nlease 10.0.0.6 7 {\n}\n"
            + block(ETHERNET, address="10.0.0.7").removesuffix("}\n")
        )
        found = list(dhcpd.read(text.splitlines(keepends=True), NOW))
        assert [each.lease.address & 255 for each in found if each.lease] == [1, 3, 5]
        assert [(each.line, each.problem) for each in found if not each.lease] == [
            (4, "the next one begins before the block 'lease 10.0.0.2' is closed"),
            (9, "a brace is closed that was not opened"),
            (10, "the next one begins before the block 'lease 10.0.0.4' is closed"),
            (17, "is not: lease ADDRESS, but 'lease'"),
            (19, "is not: lease ADDRESS, but 'lease 10.0.0.6 7'"),
            (21, "the file ends before the block 'lease 10.0.0.7' is closed"),
        ]

    def test_what_is_no_block(self):
        """Words that do not belong there, and a file that was cut off."""
        text = "word " + block(ETHERNET) + "{ }\n" + block(ETHERNET, address="10.0.0.6")
        found = list(dhcpd.read((text + "lease 10.0.0.7").splitlines(True), NOW))
        assert [(each.line, each.problem) for each in found[:-1]] == [
            (1, "is not: lease ADDRESS, but 'word lease 10.0.0.5'"),
            (4, "is not: lease ADDRESS, but ''"),
            (8, "the file ends inside of a statement"),
        ]
        assert found[-1].lease.address & 255 == 6

    def test_much_of_nothing(self):
        """Words and braces without end are not kept."""
        text = "word " * 100_000 + "{" * 100_000 + block(ETHERNET)
        assert [line for line, _ in problems("dhcpd", text)] == [1]
        assert len(read("dhcpd", "word " * 2000 + ";" + block(ETHERNET))) == 1

    @given(
        st.binary(min_size=1, max_size=255),
        st.binary(min_size=1, max_size=16),
        st.integers(1, 0xFFFFFFFF),
        st.integers(0, 4_000_000_000),
        st.booleans(),
    )
    def test_whatever_it_writes(self, key, hardware, address, time, octal):
        """Any bytes of an identifier come through either way of writing them."""
        uid = '"' + "".join(f"\\{byte:03o}" for byte in key) + '"'
        lease = lease_of(
            block(
                f"starts epoch {time};",
                f"hardware unknown-77 {hardware.hex(':')};",
                f"uid {uid if octal else key.hex(':')};",
                address=str(IPv4Address(address)),
            )
        )
        assert (lease.key, lease.hardware) == (key, b"M" + hardware)
        assert (lease.address, lease.since) == (address, float(time))


# --- Kea --------------------------------------------------------------------------

HEADER = "address,hwaddr,client_id,valid_lifetime,expire,subnet_id,hostname,state\n"
ROW = "10.0.0.5,02:00:00:00:00:01,,600,1795592795,1,,0\n"


class TestKea:
    """Kea's manual, "Memfile"; and its versions."""

    def test_order_of_columns(self):
        """The header says it; columns of other versions are passed over."""
        text = (
            "state,pool_id,expire,valid_lifetime,client_id,hwaddr,address\n"
            "0,9,1795592795,600,ff:01,02:00:00:00:00:01,10.0.0.5\n"
        )
        lease = read("kea", text)["10.0.0.5"]
        assert (lease.key, lease.hardware, lease.hostname) == (b"\xff\1", MINE, "")
        assert (lease.since, lease.expires) == (1795592195.0, 1795592795.0)

    @pytest.mark.parametrize(
        ("state", "lifetime", "expected"),
        [
            (0, 600, BOUND),
            (1, 600, DECLINED),
            (2, 600, RELEASED),
            (3, 600, RELEASED),
            (3, 0, RELEASED),
            (0, 0, None),
            (1, 0, None),
        ],
    )
    def test_states(self, state, lifetime, expected):
        """A lifetime of nothing deletes a lease, but for one that was released."""
        row = ROW.replace("600", str(lifetime)).replace(",0\n", f",{state}\n")
        leases = read("kea", HEADER + ROW + row)
        assert [lease.state for lease in leases.values()] == [expected] * len(leases)
        assert bool(leases) is (expected is not None)

    def test_the_last_word(self):
        """Also behind a deletion, and in the other parts of the file."""
        gone = ROW.replace("600", "0")
        other = ROW.replace("01,,", "02,,")
        assert not read("kea", HEADER + ROW + other + gone)
        assert read("kea", HEADER + ROW + gone + other)["10.0.0.5"].hardware[-1] == 2
        # Each part has its own header.
        parted = HEADER + ROW + "address,state,expire,valid_lifetime,client_id,hwaddr\n"
        assert read("kea", parted + "10.0.0.6,0,5,4,,02:00:00:00:00:01\r\n")[
            "10.0.0.6"
        ].since == 1.0  # fmt: skip

    @pytest.mark.parametrize(
        ("context", "relay"),
        [
            ('{ "ISC": { "relay-agent-info": "0x0102ABCD" } }', b"\1\2\xab\xcd"),
            (
                '{"ISC": {"relay-agent-info": {"sub-options": "0x0102ABCD"}}}',
                b"\1\2\xab\xcd",
            ),
            ('{"ISC": {"relay-agent-info": {"remote-id": "AB"}}}', b""),
            ('{"ISC": {"relay-agent-info": 5}}', b""),
            ('{"ISC": {"relay-agent-info": "0xZZ"}}', b""),
            ('{"mine": true}', b""),
            ("[1&#x2c2]", b""),
            ("{", b""),
            ("[" * 30000, b""),
            ("\udce4", b""),
        ],
    )
    def test_user_context(self, context, relay):
        """Kea may keep option 82 there, in two forms; others may keep anything."""
        header = HEADER.replace("\n", ",user_context\n")
        row = ROW.replace("\n", f",{context}\n")
        assert read("kea", header + row)["10.0.0.5"].relay == relay

    def test_hostname(self):
        """Commas are written otherwise, and so is what that begins with."""
        row = ROW.replace(",1,,", ",1,a&#x2cb&#x26#x2cc.,")
        assert read("kea", HEADER + row)["10.0.0.5"].hostname == "a,b&#x2cc"

    @pytest.mark.parametrize(
        ("row", "why"),
        [
            ("10.0.0.5,02:00:00:00:00:01,,600", "too few columns"),
            (ROW.replace("10.0.0.5", "2001:db8::1"), "not an IPv4 address"),
            (ROW.replace(",0\n", ",4\n"), "'4' is not a state"),
            (ROW.replace("600", "4294967296"), "not a lifetime"),
            (ROW.replace("600", "-1"), "not a number"),
            (ROW.replace("1795592795", "9" * 13), "not a number"),
            (ROW.replace("1795592795", "٣"), "not a number"),
            (ROW.replace("02:00:00:00:00:01", "zz"), "'zz' is not hexadecimal"),
            (ROW.replace("02:00:00:00:00:01", "00" * 17), "longer than 16 bytes"),
            (ROW.replace("02:00:00:00:00:01", ""), "neither a hardware address"),
        ],
    )
    def test_what_makes_no_sense(self, row, why):
        """Each bad line is told, and the others are read."""
        text = HEADER + ROW.replace("0.5", "0.4") + "\n" + row.strip() + "\n"
        ((line, reason),) = problems("kea", text)
        assert line == 4
        assert why in reason
        assert len(list(kea.read(text.splitlines(keepends=True), NOW))) == 2

    def test_header(self):
        """Without one nothing can be read; it says what is missing."""
        header = HEADER.replace(",expire", "").replace(",state", "")
        assert problems("kea", header + ROW) == [(1, "the header has no expire, state")]
        assert problems("kea", "") == []

    @pytest.mark.parametrize(
        ("there", "expected"),
        [
            ("", ""),
            (".1", ".1,"),
            (".2 .1", ".2,.1,"),
            (".completed .2 .1 .output .pid", ".completed,"),
        ],
    )
    def test_parts(self, tmp_path, there, expected):
        """What Kea itself reads when it starts while its cleanup is under way."""
        path = tmp_path / "kea-leases4.csv"
        for suffix in ["", *there.split()]:
            path.with_name(path.name + suffix).touch()
        names = [each.name.removeprefix(path.name) for each in kea.parts(path)]
        assert names == expected.split(",")


# --- dnsmasq ----------------------------------------------------------------------


class TestDnsmasq:
    """dnsmasq's file."""

    @pytest.mark.parametrize(
        ("line", "key", "hardware", "hostname", "expires"),
        [
            ("9000000000 02:00:00:00:00:01 10.0.0.5 * *", MINE, MINE, "", 9e9),
            ("0 02:00:00:00:00:01 10.0.0.5 pc *", MINE, MINE, "pc", inf),
            (
                "9000000000 02:00:00:00:00:01 10.0.0.5 * 01:02:00:00:00:00:01",
                *(MINE, MINE, "", 9e9),
            ),
            (
                "9000000000 02:00:00:00:00:01 10.0.0.5 * ff:02",
                *(b"\xff\2", MINE, "", 9e9),
            ),
            (
                "9000000000 06-02:00:00:00:00:01 10.0.0.5 * *",
                *(b"\6" + MINE[1:], b"\6" + MINE[1:], "", 9e9),
            ),
            ("9000000000 20- 10.0.0.5 * ff:02", b"\xff\2", b"", "", 9e9),
            # Built for a machine without a clock.
            ("3600 02:00:00:00:00:01 10.0.0.5 * *", MINE, MINE, "", NOW + 3600),
            ("4294967295 02:00:00:00:00:01 10.0.0.5 * *", MINE, MINE, "", inf),
        ],
    )
    def test_line(self, line, key, hardware, hostname, expires):
        """One lease."""
        lease = read("dnsmasq", line)["10.0.0.5"]
        assert (lease.key, lease.hardware, lease.hostname) == (key, hardware, hostname)
        assert (lease.state, lease.since, lease.expires) == (BOUND, 0.0, expires)

    def test_dhcpv6(self):
        """Its leases stand in the same file."""
        text = (
            "9000000000 02:00:00:00:00:01 10.0.0.5 * *\n"
            "\n"
            "duid 00:01:00:01:1e:6b:9c:ab:02:00:00:00:00:01\n"
            "9000000000 12345 2001:db8::5 * 00:01:00:01:1e\n"
            "9000000000 T12345 2001:db8::6 pc 00:01:00:01:1e\n"
        )
        assert list(read("dnsmasq", text)) == ["10.0.0.5"]

    @pytest.mark.parametrize(
        ("line", "why"),
        [
            ("9000000000 02:00:00:00:00:01 10.0.0.5 *", "is not a time, a hardware"),
            ("soon 02:00:00:00:00:01 10.0.0.5 * *", "'soon' is not a number"),
            ("9000000000 02:00:00:00:00:01 10.0.0.500 * *", "not an IPv4 address"),
            ("9000000000 pigeon 10.0.0.5 * *", "'pigeon' is not a hardware address"),
            ("9000000000 -02 10.0.0.5 * *", "not a hardware address"),
            ("9000000000 0:2:4 10.0.0.5 * *", "not hexadecimal"),
            ("9000000000 20- 10.0.0.5 * *", "neither a hardware address"),
            ("9000000000 02:00:00:00:00:01 10.0.0.5 * xx", "not hexadecimal"),
        ],
    )
    def test_what_makes_no_sense(self, line, why):
        """Each bad line is told, and the others are read."""
        text = f"\n{line}\n9000000000 02:00:00:00:00:01 10.0.0.6 * *\n"
        ((number, reason),) = problems("dnsmasq", text)
        assert number == 2
        assert why in reason


# --- ours -------------------------------------------------------------------------

GOOD = {
    "address": "10.0.0.5",
    "state": "bound",
    "hardware": "02:00:00:00:00:01",
    "client_id": "",
    "hostname": "pc",
    "since": 5.0,
    "expires": 9.5,
    "relay": "0102abcd",
    "subnet": "lan",
}

LEASES = st.builds(
    Lease,
    st.integers(1, 0xFFFFFFFF),
    st.sampled_from([BOUND, RELEASED, DECLINED]),
    st.binary(min_size=2, max_size=300),
    st.one_of(st.just(b""), st.binary(min_size=2, max_size=17)),
    st.floats(0, 1e11),
    st.one_of(st.just(inf), st.floats(0, 1e11)),
    hostname=st.text(max_size=40).filter(str.isprintable),
    relay=st.binary(max_size=300),
)


class TestOurs:
    """JSON lines and CSV, as `dhcpctl leases export` writes them."""

    @given(LEASES, st.booleans())
    def test_nothing_is_lost(self, lease, by_hardware):
        """What is listed of a lease is that lease again, by either way."""
        if by_hardware and lease.hardware:
            lease.key = lease.hardware
        fields = lease_fields(lease, network(), NOW)
        table = io.StringIO(newline="")
        writer = csv.DictWriter(table, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerow(fields)
        for kind, text in (
            ("jsonl", json.dumps(fields) + "\n"),
            ("csv", table.getvalue()),
        ):
            lines = io.StringIO(text, newline="").readlines()
            (found,) = READERS[kind](lines, NOW)
            assert found.problem == ""
            for name in Lease.__slots__:
                if name not in {"duration", "settings", "queued"}:
                    assert getattr(found.lease, name) == getattr(lease, name), name

    @pytest.mark.parametrize(
        ("field", "value", "why"),
        [
            ("address", "10.0.0", "not an IPv4 address"),
            ("address", 5, "address is not a text"),
            ("address", "", "not an IPv4 address"),
            ("state", "offered", "'offered' is none of bound, declined, expired"),
            ("state", None, "state is not a text"),
            ("hardware", "1", "not hexadecimal"),
            ("hardware", "", "neither a hardware address"),
            ("hardware", "x/02:00", "is not like"),
            ("hardware", "٣/02:00", "is not like"),
            ("hardware", "256/02:00", "is not like"),
            ("hardware", "1/", "is not like"),
            ("hardware", "00" * 17, "longer than 16 bytes"),
            ("client_id", "hex:xyz", "not hexadecimal"),
            ("client_id", "x" * 2049, "longer than 2048 bytes"),
            ("hostname", "x" * 8193, "hostname is not a text"),
            ("since", "yesterday", "since is not a number"),
            ("since", True, "since is not a number"),
            ("expires", -1, "expires is not a time"),
            ("expires", 100_000_000_001, "expires is not a time"),
            ("expires", 10**400, "expires is not a time"),
            ("expires", float("nan"), "expires is not a time"),
            ("expires", inf, "expires is not a time"),
            ("relay", "0x", "not hexadecimal"),
            ("relay", "00" * 2049, "longer than 2048 bytes"),
        ],
    )
    def test_fields(self, field, value, why):
        """Each is checked; the reason names it."""
        assert lease_from(GOOD).hostname == "pc"
        with pytest.raises(ValueError, match=why):
            lease_from({**GOOD, field: value})

    def test_what_is_no_lease(self):
        """Something else than an object."""
        for row in (None, [], "x", 5):
            with pytest.raises(ValueError, match="not an object"):
                lease_from(row)

    def test_revoked(self):
        """Its holder may not know: the address rests, wherever it comes to."""
        assert lease_from({**GOOD, "state": "revoked"}).state == DECLINED
        assert lease_from({**GOOD, "state": "expired"}).state == BOUND

    def test_hostname(self):
        """It is made printable, whoever wrote the row."""
        assert lease_from({**GOOD, "hostname": "a\x1b[0m\0"}).hostname == "a\\x1b[0m"
        assert lease_from({**GOOD, "hostname": "a\udce4"}).hostname == "a\\xe4"

    def test_lines(self):
        """What makes no sense is told with its line; the last word counts."""
        good = json.dumps(GOOD)
        text = f"{good}\n\n{{\n[{good}]\n{'[' * 100_000}\n"
        assert [line for line, _ in problems("jsonl", text)] == [3, 4, 5]
        later = json.dumps({**GOOD, "hostname": "other"})
        assert read("jsonl", f"{good}\n{later}")["10.0.0.5"].hostname == "other"

    def test_csv(self):
        """Columns in any order, more than we know, fewer than we write."""
        text = (
            'note,state,hardware,address\n"a,\n""b",bound,02:00:00:00:00:01,10.0.0.5\n'
        )
        lease = read("csv", text)["10.0.0.5"]
        assert (lease.hardware, lease.expires, lease.since) == (MINE, inf, 0.0)

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("address,hardware\n", [(1, "the header has no state")]),
            ("a,b\n10.0.0.5,x\n", [(1, "the header has no address and state")]),
            ("address,state\n\n10.0.0.5,bound\n", [(3, "there is neither")]),
            ("address,state,since\n10.0.0.5,bound,x\n", [(2, "could not convert")]),
            (f'address,state\n"{"x" * 200_000}\n', [(2, "field larger than")]),
        ],
    )
    def test_csv_without_sense(self, text, expected):
        """It is told."""
        found = problems("csv", text)
        assert [line for line, _ in found] == [line for line, _ in expected]
        for (_, why), (_, reason) in zip(found, expected, strict=True):
            assert reason in why


# --- which it is, and whatever else comes -------------------------------------------


class TestRecognised:
    """A person need not say whose file it is."""

    @pytest.mark.parametrize(
        ("beginning", "kind"),
        [
            ("\n  \nlease 10.0.0.5 {", "dhcpd"),
            ("authoring-byte-order little-endian;", "dhcpd"),
            ('failover peer "x" state {', "dhcpd"),
            ("duid 00:01", "dnsmasq"),
            ("0 02:00:00:00:00:01 10.0.0.5 * *", "dnsmasq"),
            (json.dumps(GOOD), "jsonl"),
            (",".join(FIELDS), "csv"),
            (HEADER, "kea"),
        ],
    )
    def test_known(self, beginning, kind):
        """By its first line."""
        assert recognised(beginning) == kind

    @pytest.mark.parametrize("beginning", ["", "\n\n", "<html>", "option x;", "\0\1"])
    def test_unknown(self, beginning):
        """It says what can be said."""
        with pytest.raises(ValueError, match="--format: jsonl, csv, dhcpd, kea"):
            recognised(beginning)


REAL = {
    "dhcpd": "".join(
        line
        for name in ("dhcpd.leases", "dhcpd-local.leases")
        for part in (slice(45), slice(120, 140), slice(-90, -40))
        for line in text_of(name).splitlines(keepends=True)[part]
    ),
    "kea": text_of("kea-leases4.csv") + text_of("kea-reclaimed.csv"),
    "dnsmasq": text_of("dnsmasq.leases"),
    "jsonl": f"{json.dumps(GOOD)}\n" * 3,
    "csv": f"{','.join(FIELDS)}\n10.0.0.5,bound,02:00:00:00:00:01,,,1,,0102,\n",
}


@st.composite
def damaged(draw, kind):
    """Write a file of this kind that something has happened to."""
    text = REAL[kind]
    for _ in range(draw(st.integers(1, 8))):
        begin = draw(st.integers(0, len(text)))
        end = min(len(text), begin + draw(st.integers(0, 60)))
        new = draw(
            st.one_of(
                st.just(""),
                st.text(max_size=5),
                st.sampled_from(['"', "{", "}", ";", ",", "\n", "\r", "\0", "\\", "-"]),
                st.sampled_from(["\udcff", "9" * 30, "lease", "0.0.0.0", "&#x", "#"]),
            )
        )
        text = text[:begin] + new + text[end:]
    return text


class TestAnything:
    """Malformed input costs its own line, and nothing else."""

    def check(self, kind, text):
        """What is found is a lease that can be sent, or a reason and a line."""
        lines = io.StringIO(text, newline="").readlines()
        for found in READERS[kind](lines, NOW):
            assert 1 <= found.line <= max(1, len(lines))
            if found.lease is None:
                assert found.problem
                continue
            assert found.problem == ""
            row = json.loads(json.dumps(row_of(found.lease)))
            again = lease_from(row)
            assert row_of(again) == row
            assert (again.key, again.hardware) == (
                found.lease.key,
                found.lease.hardware,
            )
            assert row["hostname"].isprintable()

    @settings(max_examples=600, deadline=None)
    @given(st.data())
    def test_damaged(self, data):
        """A file of the right kind with some damage."""
        kind = data.draw(st.sampled_from(list(READERS)))
        self.check(kind, data.draw(damaged(kind)))

    @settings(max_examples=300, deadline=None)
    @given(st.sampled_from(list(READERS)), st.text(max_size=300))
    def test_text(self, kind, text):
        """Text that is no lease file at all."""
        self.check(kind, text)

    @pytest.mark.parametrize("kind", READERS)
    @pytest.mark.parametrize("text", ["\ud800", '"\n"', "\udcff\r\0", "{" * 10000])
    def test_oddities(self, kind, text):
        """What came of bytes that are no UTF-8, and more."""
        self.check(kind, text)
        assert problems(kind, text + "\n" + text)


def test_hardware_as_people_write_it():
    """Every type that is read is written the same way again."""
    for text in ("7/09", "02:00:00:00:00:01", "32/01:02"):
        assert format_hardware(lease_from({**GOOD, "hardware": text}).hardware) == text

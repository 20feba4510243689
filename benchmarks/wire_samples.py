"""The messages that `wire.py` times, made without asking any of the libraries."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address
from typing import Any


#: What a server reads of a request.
READ = (53, 50, 54, 55, 61, 57, 12, 82)

#: What a relay adds, apart and in one.
SUBOPTIONS = {1: b"eth1/0/7:120", 2: b"\x52\x54\x00\x12\x34\x56"}
RELAY = b"\x01\x0c" + SUBOPTIONS[1] + b"\x02\x06" + SUBOPTIONS[2]

ADDRESSES = {1, 3, 6, 28, 42, 50, 54}
SIZES = {51: 4, 53: 1, 57: 2, 58: 4, 59: 4}


class Sample:
    """A message: its fields, and its options as values that are in no library's form.

    The client identifier and the relay's information are their bytes.
    """

    def __init__(self, number: int, op: int, values: dict[int, Any]) -> None:
        self.op = op
        self.xid = 0x3903F000 + number
        self.mac = b"\x52\x54\x00" + number.to_bytes(3, "big")
        self.yiaddr = IPv4Address(f"10.20.1.{number % 200 + 1}" if op == 2 else 0)
        self.giaddr = IPv4Address("10.20.0.1")
        self.values = {53: values[53], 61: b"\x01" + self.mac, **values, 82: RELAY}
        self.options = {code: pack(code, value) for code, value in self.values.items()}
        self.data = struct.pack(
            "!4BI4x4x4s4x4s16s192x4s",
            *(op, 1, 6, 1, self.xid),
            *(self.yiaddr.packed, self.giaddr.packed, self.mac, b"c\x82Sc"),
        )
        for code, data in self.options.items():
            self.data += bytes((code, len(data))) + data
        self.data += b"\xff"


def pack(code: int, value: Any) -> bytes:
    """An option's bytes, without asking any of the libraries."""
    if isinstance(value, bytes):
        return value
    if code in SIZES:
        return bytes(value.to_bytes(SIZES[code], "big"))
    if code in ADDRESSES:
        return b"".join(IPv4Address(each).packed for each in listed(value))
    return value.encode() if isinstance(value, str) else bytes(value)


def listed(value: Any) -> list[Any]:
    """A list, of one if it is none."""
    return value if isinstance(value, list) else [value]


def discover(number: int) -> Sample:
    """What a Linux client sends, with what its relay adds: ten options."""
    values = {
        53: 1,
        50: f"10.20.1.{number % 200 + 1}",
        57: 1472,
        60: "dhcpcd-10.0.6:Linux-6.8.0:x86_64:GenuineIntel",
        12: f"laptop-{number}",
        51: 86400,
        80: b"",
        55: [1, 121, 33, 3, 6, 12, 15, 26, 28, 42, 51, 54, 58, 59, 119],
    }
    return Sample(number, 1, values)


def ack(number: int) -> Sample:
    """What a server answers through the relay: thirteen options."""
    values = {
        53: 5,
        54: "10.9.8.7",
        51: 86400,
        58: 43200,
        59: 75600,
        1: "255.255.255.0",
        28: "10.20.1.255",
        15: "lan.example.org",
        6: ["10.9.8.1", "10.9.8.2"],
        42: ["10.9.8.1"],
        3: ["10.20.0.1"],
    }
    return Sample(number, 2, values)

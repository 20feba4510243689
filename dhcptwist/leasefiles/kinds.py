"""Which lease file it is."""

from __future__ import annotations

from . import dhcpd, dnsmasq, kea, rows
from .found import Reader


#: Format to its reader.
READERS: dict[str, Reader] = {
    "jsonl": rows.read_lines,
    "csv": rows.read_csv,
    "dhcpd": dhcpd.read,
    "kea": kea.read,
    "dnsmasq": dnsmasq.read,
}


def recognised(beginning: str) -> str:
    """The format of a file that begins so.

    Raises:
        ValueError: It is none of ours to read.
    """
    for line in beginning.splitlines():
        text = line.strip()
        if not text:
            continue
        if text.startswith("{"):
            return "jsonl"
        if text.startswith("address,"):
            return "kea" if "valid_lifetime" in text else "csv"
        if dnsmasq.LINE.match(text + " ") or text.startswith("duid "):
            return "dnsmasq"
        words = text.split()
        if text.startswith("#") or words[0] in {
            "authoring-byte-order",
            "failover",
            "lease",
            "server-duid",
        }:
            return "dhcpd"
        break
    raise ValueError(
        "it is none of the lease files that are known; say which it is with --format:"
        f" {', '.join(READERS)}"
    )

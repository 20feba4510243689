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

#: What a file of dhcpd's may begin with, beside a comment.
_DHCPD = dhcpd.OTHERS | {"authoring-byte-order", "lease", "server-duid"}


def recognised(beginning: str) -> str:
    """The format of a file that begins so.

    Raises:
        ValueError: It is none of ours to read, or there is nothing in it.
    """
    say = f"say which it is with --format: {', '.join(READERS)}"
    line = next(filter(None, map(str.strip, beginning.splitlines())), "")
    if not line:
        raise ValueError(f"there is nothing in it; if that is right, {say}")
    if line.startswith("{"):
        return "jsonl"
    if line.startswith("address,"):
        return "kea" if "valid_lifetime" in line else "csv"
    if dnsmasq.LINE.match(line + " ") or line.startswith("duid "):
        return "dnsmasq"
    if line.startswith("#") or line.split()[0] in _DHCPD:
        return "dhcpd"
    raise ValueError(f"it is none of the lease files that are known; {say}")

"""The example that keeps reservations in step with a CSV file, or with NetBox."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Condition, Event, Thread
from urllib.parse import parse_qs, urlsplit

import pytest

from dhcptwist.control import blocking


ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "docs" / "examples"
TOKEN = "nbt_key.secret"


class NetBox(ThreadingHTTPServer):
    """As much of NetBox as is asked.

    Attributes:
        lists: What it has, by path.
        breaks: The offset of the page of addresses in which it fails, and how.
        lists_begun: How often the addresses were asked for from the beginning.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Answering)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.lists = {
            "ipam/ip-addresses": [],
            "dcim/interfaces": [],
            "virtualization/interfaces": [],
        }
        self.breaks = (-1, "")
        self.lists_begun = 0
        self.asked = Condition()
        self.queries = []
        self.tokens = set()
        self.free = Event()

    def add(self, address, mac, name="", kind="dcim.interface", **fields):
        """Have one more address, at an interface of its own."""
        number = len(self.lists["ipam/ip-addresses"]) + 1
        path = {
            "dcim.interface": "dcim/interfaces",
            "virtualization.vminterface": "virtualization/interfaces",
        }[kind]
        self.lists[path].append({"id": number + 100, "mac_address": mac})
        self.lists["ipam/ip-addresses"].append(
            {
                "id": number,
                "address": f"{address}/24",
                "dns_name": name,
                "assigned_object_type": kind,
                "assigned_object_id": number + 100,
                "custom_fields": {},
                **fields,
            }
        )

    def wait_for_lists(self, more):
        """Wait until the addresses have been asked for so many times more."""
        with self.asked:
            wanted = self.lists_begun + more
            assert self.asked.wait_for(lambda: self.lists_begun >= wanted, 30)


class _Answering(BaseHTTPRequestHandler):
    def do_GET(self):
        server, url = self.server, urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        path = url.path.removeprefix("/api/").strip("/")
        server.tokens.add(self.headers["Authorization"])
        offset, limit = int(query.get("offset", 0)), int(query["limit"])
        if path == "ipam/ip-addresses":
            server.queries.append(query)
            with server.asked:
                server.lists_begun += not offset
                server.asked.notify_all()
        how = ""
        if path == "ipam/ip-addresses" and offset == server.breaks[0]:
            how = server.breaks[1]
        rows = server.lists[path]
        page = {"count": len(rows), "results": rows[offset : offset + limit]}
        page["next"] = None
        if offset + limit < len(rows):
            # Behind a proxy, NetBox believes to be somewhere else.
            page["next"] = (
                f"http://inside.invalid{url.path}?limit={limit}&offset={offset + limit}"
            )
        if how == "lost row":
            page["results"] = page["results"][1:]
        body = json.dumps(["no list"] if how == "no list" else page).encode()
        if how in ("silence", "late"):
            assert server.free.wait(30)
        if how == "silence":
            return
        status = {"broken": 500, "elsewhere": 302}.get(how, 200)
        self.send_response(status)
        if how == "elsewhere":
            self.send_header("Location", f"{server.url}/api/dcim/interfaces/?limit=9")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if how == "half" else body)

    def log_message(self, *_):
        pass


@pytest.fixture
def netbox():
    """Serve a NetBox."""
    with NetBox() as server:
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.free.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def site(make_site):
    """Run a server for 192.0.2.0/24, with a role for it."""
    site = make_site(listen="tcp:0:interface=127.0.0.1")
    site.ini = site.ini.replace("127.7.0.0/16", "192.0.2.0/24").replace(
        "127.7.0", "192.0.2"
    )
    listen = "listen = tcp:0:interface=127.0.0.1\n"
    assert listen in site.ini
    site.ini = site.ini.replace(
        listen,
        f"{listen}role netbox = reserve, cancel, list in 192.0.2.0/24 as netbox, csv\n",
    )
    site.start()
    (site.directory / "token").write_text(f"{TOKEN}\n", "ascii")
    return site


def endpoint(site):
    """Where the control channel is."""
    return (site.state / "control" / "endpoint").read_text("utf-8").strip()


def words(site, *more):
    """The command line of the example."""
    return [
        *(sys.executable, EXAMPLES / "ipam.py", *more),
        *("--server", endpoint(site)),
    ]


def run(site, *more, code=0):
    """Run it as admin; give the lines that it printed."""
    admin = str(site.state / "control" / "admin.pem")
    done = subprocess.run(
        words(site, *more, "--identity", admin),
        cwd=site.directory,
        env=site.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return (done.stdout + done.stderr).splitlines()


def from_netbox(site, netbox, *more, code=0):
    """Run it on NetBox."""
    return run(
        *(site, "netbox", netbox.url, "--token-file", "token", "--rows", "2", *more),
        code=code,
    )


def reserved(site, source):
    """What a source has: hardware address and name, by address."""
    with blocking.connect(endpoint(site), site.state / "control/admin.pem") as client:
        return {
            row["address"]: (row["hardware"], row["hostname"])
            for row in client.reservations(source)
        }


def counts(line):
    """The numbers that are not 0 of a line, by their words."""
    found = {word: int(number) for number, word in re.findall(r"(\d+) (\w+)", line)}
    return {word: number for word, number in found.items() if number}


def mac(number):
    """A hardware address."""
    return f"02:00:00:00:00:{number:02x}"


def test_csv(site):
    """A file becomes the source, also when it changes; a mistake in it changes nothing."""
    path = site.directory / "hosts.csv"
    path.write_text(f"address,hardware\n192.0.2.60,{mac(1)}\n192.0.2.61,{mac(2)}\n")
    assert counts(run(site, "csv", str(path))[0]) == {"added": 2}
    assert counts(run(site, "csv", str(path))[0]) == {"same": 2}
    path.write_text(f"address,hardware,hostname\n192.0.2.60,{mac(1)},one\n")
    assert counts(run(site, "csv", str(path))[0]) == {"changed": 1, "removed": 1}
    for mistake in (f"192.0.2.60,{mac(1)},one,two", f"192.0.2.999,{mac(1)},one"):
        path.write_text(f"address,hardware,hostname\n{mistake}\n")
        (line,) = run(site, "csv", str(path), code=1)
        assert line.startswith("nothing changed: ")
        assert "hosts.csv:2" in line or "192.0.2.999" in line
    path.write_text("address,hardware\n")
    (line,) = run(site, "csv", str(path), code=1)
    assert "--may-be-empty" in line
    assert reserved(site, "csv") == {"192.0.2.60": (mac(1), "one")}
    assert counts(run(site, "csv", str(path), "--may-be-empty")[0]) == {"removed": 1}


def test_netbox(site, netbox):
    """All pages of NetBox become the source; a restart in between changes nothing."""
    for number in range(1, 6):
        netbox.add(
            f"192.0.2.{60 + number}", mac(number).upper(), f"host{number}.a.example"
        )
    netbox.add("192.0.2.70", mac(10), kind="virtualization.vminterface")
    netbox.add("192.0.2.71", None, custom_fields={"mac": mac(11)})
    netbox.add("192.0.2.72", None)
    said = from_netbox(site, netbox, "--field", "mac", "--filter", "status=dhcp")
    assert counts(said[0]) == {"added": 7}
    expected = {f"192.0.2.{60 + n}": (mac(n), f"host{n}") for n in range(1, 6)}
    expected |= {"192.0.2.70": (mac(10), ""), "192.0.2.71": (mac(11), "")}
    assert reserved(site, "netbox") == expected
    assert netbox.tokens == {f"Bearer {TOKEN}"}
    assert netbox.queries[0]["family"] == "4"
    assert netbox.queries[0]["status"] == "dhcp"
    site.stop()
    site.start()
    said = from_netbox(site, netbox, "--field", "mac")
    assert counts(said[0]) == {"same": 7}
    netbox.lists["ipam/ip-addresses"][0]["dns_name"] = "other.a.example"
    said = from_netbox(site, netbox)
    assert counts(said[0]) == {"changed": 1, "removed": 1, "same": 5}


def test_what_another_has_is_named(site, netbox):
    """It is refused, the rest is taken; when the other gives it up, it is taken, too."""
    admin = site.state / "control/admin.pem"
    with blocking.connect(endpoint(site), admin) as client:
        client.reserve("192.0.2.61", hardware=mac(9), source="members")
    netbox.add("192.0.2.61", mac(1))
    netbox.add("192.0.2.62", mac(2))
    said = from_netbox(site, netbox, code=1)
    assert counts(said[0]) == {"added": 1, "refused": 1}
    assert said[1].startswith(f"192.0.2.61 {mac(1)} refused: 192.0.2.61 is reserved")
    assert list(reserved(site, "netbox")) == ["192.0.2.62"]
    with blocking.connect(endpoint(site), admin) as client:
        client.cancel("192.0.2.61")
    assert counts(from_netbox(site, netbox)[0]) == {"added": 1, "same": 1}


def test_who_has_a_lease_is_named(site, netbox):
    """The address is reserved, and its holder told."""
    holder = site.client(1)
    address = str(site.relay().bind(holder).yiaddr & 0xFF)
    netbox.add(f"192.0.2.{address}", mac(9))
    said = from_netbox(site, netbox)
    assert counts(said[0]) == {"added": 1, "waiting": 1}
    assert said[1].startswith(f"192.0.2.{address} {mac(9)} waiting: ")


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("broken", "500"),
        ("elsewhere", "302"),
        ("half", "IncompleteRead"),
        ("no list", "is no list of NetBox"),
        ("lost row", "changed while it was read"),
    ],
)
def test_half_of_it_changes_nothing(site, netbox, how, why):
    """If NetBox fails in its second page, all stays as it is."""
    for number in range(1, 6):
        netbox.add(f"192.0.2.{60 + number}", mac(number))
    from_netbox(site, netbox)
    before = reserved(site, "netbox")
    netbox.lists["ipam/ip-addresses"][0]["dns_name"] = "other"
    netbox.breaks = (2, how)
    (line,) = from_netbox(site, netbox, code=1)
    assert line.startswith("nothing changed: ")
    assert why in line
    assert reserved(site, "netbox") == before


def test_what_may_not_be_seen_changes_nothing(site, netbox):
    """An address whose interface is hidden is not taken for one without."""
    for number in (1, 2, 3):
        netbox.add(f"192.0.2.{60 + number}", mac(number))
    from_netbox(site, netbox)
    del netbox.lists["dcim/interfaces"][1]
    (line,) = from_netbox(site, netbox, code=1)
    assert "interface of 192.0.2.62/24" in line
    netbox.lists["ipam/ip-addresses"].clear()
    (line,) = from_netbox(site, netbox, code=1)
    assert "nothing to reserve" in line
    assert len(reserved(site, "netbox")) == 3


def test_silence_ends(netbox, monkeypatch):
    """A page that does not come is waited for, but not for ever."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import ipam_netbox

    netbox.breaks = (0, "silence")
    asked = ipam_netbox.NetBox(netbox.url, TOKEN, timeout=0.2)
    with pytest.raises(ipam_netbox.Unreadable, match="timed out"):
        asked.reservations()


def test_again_and_again(site, netbox):
    """It goes on, over failures and restarts, and says something only of changes."""
    netbox.add("192.0.2.61", mac(1))
    program = subprocess.Popen(
        words(
            site,
            *("netbox", netbox.url, "--token-file", "token", "--every", "0.05"),
            *("--identity", str(site.state / "control/admin.pem")),
        ),
        cwd=site.directory,
        env=site.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert counts(program.stdout.readline()) == {"added": 1}
        netbox.wait_for_lists(3)  # and nothing is said meanwhile
        netbox.breaks = (0, "broken")
        assert "500" in program.stderr.readline()
        netbox.breaks = (-1, "")
        netbox.add("192.0.2.62", mac(2))
        assert counts(program.stdout.readline()) == {"added": 1, "same": 1}
        # Somebody else changes the source: it is put right.
        with blocking.connect(
            endpoint(site), site.state / "control/admin.pem"
        ) as client:
            client.cancel("192.0.2.61")
        assert counts(program.stdout.readline()) == {"added": 1, "same": 1}
    finally:
        program.terminate()
        program.communicate(timeout=20)


def test_who_was_faster_is_not_overwritten(site, netbox):
    """A change while NetBox is read is seen, and the set is not put over it."""
    netbox.add("192.0.2.61", mac(1))
    from_netbox(site, netbox)
    netbox.add("192.0.2.62", mac(2))
    admin = site.state / "control/admin.pem"

    def meanwhile():
        with netbox.asked:
            assert netbox.asked.wait_for(lambda: netbox.lists_begun >= 2, 30)
        with blocking.connect(endpoint(site), admin) as client:
            client.reserve("192.0.2.63", hardware=mac(3), source="netbox")
        netbox.free.set()

    netbox.breaks = (0, "late")  # not before somebody else was there
    thread = Thread(target=meanwhile)
    thread.start()
    (line,) = from_netbox(site, netbox, code=1)
    thread.join()
    assert line.startswith("nothing changed: the reservations of 'netbox' are at")
    assert list(reserved(site, "netbox")) == ["192.0.2.61", "192.0.2.63"]
    assert counts(from_netbox(site, netbox)[0]) == {"added": 1, "removed": 1, "same": 1}


def test_page(site, netbox):
    """What docs/ipam.md shows is what happens."""
    netbox.add("192.0.2.70", "00:11:22:33:44:99")
    netbox.add("192.0.2.72", "00:11:22:33:44:72")
    netbox.add("192.0.2.73", "00:11:22:33:44:73")
    page = (ROOT / "docs" / "ipam.md").read_text("utf-8")
    shown = "".join(re.findall(r"```console\n(.*?)```", page, re.DOTALL))
    parts = re.split(r"^\$ ", shown, flags=re.MULTILINE)[1:]
    assert len(parts) == 4
    for part in parts:
        line, _, expected = part.partition("\n")
        line = line.replace("https://netbox.example.org", netbox.url)
        program, *rest = shlex.split(line)
        if program == "dhcpctl":
            command = ["-m", "dhcptwist.ctl", "--state", str(site.state), *rest]
        else:
            rest = [str(ROOT / w) if w.startswith("docs/") else w for w in rest]
            command = [*rest, "--server", endpoint(site)]
        done = subprocess.run(
            [sys.executable, *command],
            cwd=site.directory,
            env=site.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert not done.stderr, line
        assert (site.directory / "netbox.pem").exists(), line
        assert done.stdout == expected or program == "dhcpctl", line

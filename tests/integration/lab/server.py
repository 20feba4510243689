"""The server under test: a real twistd, a real state directory, a real dhcpctl."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import dhcptwist
from lab.hosts import Host, end, wait_until


# Beside the interpreter, as a virtual environment has it; never another's on PATH.
TWISTD = str(Path(sys.executable).with_name("twistd"))

# twistd looks for plug-ins along sys.path: give it the dhcptwist that these tests
# have imported, installed or not.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(dhcptwist.__file__).parents[1])}

SETTINGS = """
[server]
interfaces = {interfaces}
state = {state}
storage = {storage}
authoritative = yes

[control]
listen = unix:control.sock:mode=600
"""


def subnet(
    name: str = "lan",
    network: str = "192.168.100.0/24",
    pools: str = "192.168.100.10 - 192.168.100.20",
    router: str = "192.168.100.1",
    lease_time: str = "60s",
    **more: str,
) -> str:
    """Write a subnet section; a key's dashes are underscores here."""
    keys = {
        "network": network,
        "pools": pools,
        "lease-time": lease_time,
        "option.routers": router,
        "option.domain-name-servers": f"{router}, 192.0.2.53",
        **{key.replace("_", "-"): value for key, value in more.items()},
    }
    lines = [f"{key} = {value}" for key, value in keys.items()]
    return "\n".join([f"[subnet {name}]", *lines, ""])


class Refused(Exception):  # noqa: N818  what dhcpctl says, not our error
    """The server did not do what dhcpctl asked for: exit status 1."""


class Server:
    """dhcptwist on one machine of the lab; it keeps its state when it is restarted."""

    def __init__(
        self,
        host: Host,
        interfaces: str = "s0",
        directory: Path | None = None,
        twistd: tuple[str, ...] = (),
        prefix: tuple[str, ...] = (),
        storage: str = "sqlite:leases.sqlite",
    ) -> None:
        """Prepare, but do not start.

        Args:
            host: The machine.
            interfaces: Those to serve.
            directory: Where its files lie, if not in the machine's folder.
            twistd: Options for twistd itself.
            prefix: A command that becomes the server, to start it in its own way.
            storage: Who decides.  A module in `directory` can be named.
        """
        self._storage = storage
        self.directory = directory or host.directory
        self.state = self.directory / "state"
        self._host = host
        self._interfaces = interfaces
        self._twistd = twistd
        self.prefix = prefix
        self._process: subprocess.Popen[bytes] | None = None
        self._logs: list[Path] = []

    @property
    def pid(self) -> int:
        """The process of the server that runs now."""
        assert self._process is not None, "the server has not been started"
        return self._process.pid

    @property
    def log(self) -> str:
        """All that the server has logged, over its restarts."""
        return "".join(
            path.read_text("utf-8", "replace") for path in self._logs if path.exists()
        )

    def start(self, *sections: str) -> None:
        """Start with these sections, and wait until it serves."""
        self.begin(*sections)
        self.wait()

    def begin(self, *sections: str) -> None:
        """Start with these sections, and do not wait for it."""
        config = self._write(sections)
        log = self.directory / f"server{len(self._logs)}.log"
        self._logs.append(log)
        path = f"{ENVIRONMENT['PYTHONPATH']}:{self.directory}"
        self._process = self._host.start(
            *self.prefix, TWISTD, "-n", "--pidfile=", f"--logfile={log}", *self._twistd,
            "dhcp", "--config", str(config),
            output=log.with_suffix(".txt"), env={**ENVIRONMENT, "PYTHONPATH": path},
        )  # fmt: skip

    def _write(self, sections: Iterable[str]) -> Path:
        config = self.directory / "dhcp.ini"
        settings = SETTINGS.format(
            interfaces=self._interfaces, state=self.state, storage=self._storage
        )
        config.write_text("\n".join([settings, *sections]), encoding="utf-8")
        return config

    def reload(self, *sections: str) -> Any:
        """Give it these sections while it runs, by dhcpctl, and give its answer.

        Raises:
            Refused: The configuration has mistakes.
        """
        self._write(sections)
        return self.ask("reload")

    def hang_up(self, *sections: str) -> None:
        """Give it these sections while it runs, by SIGHUP, and wait until it has them."""
        self._write(sections)
        before = self.log.count("SIGHUP has reloaded")
        os.kill(self.pid, signal.SIGHUP)
        wait_until(lambda: self.log.count("SIGHUP has reloaded") > before, "the reload")

    def wait(self) -> None:
        """Wait until it serves."""
        log, process = self._logs[-1], self._process
        assert process is not None, "the server has not been started"
        said = log.with_suffix(".txt")

        def serving() -> bool:
            told = log.read_bytes() if log.exists() else b""
            assert process.poll() is None, (
                f"the server ended\n{said.read_text()}{told.decode()}"
            )
            return b"dhcptwist is serving" in told

        wait_until(serving, "the server to serve")

    def stop(self) -> None:
        """End it as an administrator would, and expect it to end well."""
        if self._process is not None:
            status = end(self._process, patience=10)
            self._process = None
            # Once all has been closed, twistd dies of the signal that ended it.
            assert status in {0, -signal.SIGTERM}, f"it ended with {status}\n{self.log}"
            assert "Server Shut Down" in self._logs[-1].read_text("utf-8", "replace")

    def crash(self) -> None:
        """End it without any warning, as a power failure would."""
        assert self._process is not None, "the server has not been started"
        self._process.kill()
        self._process.wait()
        self._process = None

    def restart(self, *sections: str) -> None:
        """Stop, and start again with these sections."""
        self.stop()
        self.start(*sections)

    def ask(self, *command: str) -> Any:
        """Ask by dhcpctl, over the control socket in the state directory.

        Raises:
            Refused: exit status 1, with what was printed.
        """
        done = subprocess.run(
            [sys.executable, "-m", "dhcptwist.ctl",
             "--state", str(self.state), "--json", *command],
            capture_output=True, text=True, timeout=30, check=False, env=ENVIRONMENT,
        )  # fmt: skip
        if done.returncode == 1:
            raise Refused(done.stdout + done.stderr)
        assert done.returncode == 0, (
            f"dhcpctl {' '.join(command)} ended with {done.returncode}\n"
            f"{done.stdout}{done.stderr}"
        )
        return json.loads(done.stdout)

    def reserve(self, address: str, hardware: str, on_conflict: str = "wait") -> Any:
        """Push a reservation into the live pool, and give the server's answer.

        Raises:
            Refused: somebody has the address, and `on_conflict` is "refuse".
        """
        return self.ask(
            "reserve", address, "--hardware", hardware, "--on-conflict", on_conflict
        )

    def leases(self, state: str = "") -> dict[str, dict[str, Any]]:
        """List what the server knows by address: all of it, or one state."""
        found = self.ask("leases")
        leases = {lease["address"]: lease for lease in found}
        assert len(leases) == len(found), f"an address is listed twice: {found}"
        return {
            address: lease
            for address, lease in leases.items()
            if not state or lease["state"] == state
        }

    def state_of(self, address: str) -> str:
        """Tell the state of an address; empty where the server lists none."""
        return self.leases().get(address, {}).get("state", "")

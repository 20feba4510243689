"""Fixtures of the tests with real clients: a lab, and in it a server on a switch."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


sys.path.insert(0, str(Path(__file__).parent))  # for the package lab, beside this file

from lab.hosts import Lab, Lan, missing, opened
from lab.server import Server


# What every test here uses; what only some use, those ask `needs` for.
PROGRAMS = ("ip", "ethtool", "sysctl")


@pytest.fixture(autouse=True)
def needs(request: pytest.FixtureRequest) -> None:
    """Skip a test whose programs are not installed, but never in CI.

    Each module names its own, beyond the common ones, in `NEEDS`.
    """
    names = (*PROGRAMS, *getattr(request.module, "NEEDS", ()))
    absent = missing(*names)
    if absent and not os.environ.get("CI"):
        pytest.skip(f"not installed: {', '.join(absent)}")
    assert not absent, f"not installed: {', '.join(absent)}"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """Machines and wires that are gone after the test."""
    with opened(tmp_path) as lab:
        yield lab


@pytest.fixture
def lan(lab: Lab) -> Lan:
    """A switch, with the server's machine on it."""
    return Lan(lab)


@pytest.fixture
def server(lan: Lan) -> Iterator[Server]:
    """The server on the switch, not started yet.

    It must end well after each test, and must not have logged any error: a bug is
    caught by Twisted, and would look like a lost packet that the client repeats.
    """
    server = Server(lan.server)
    yield server
    server.stop()
    assert "Traceback" not in server.log, server.log

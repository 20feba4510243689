"""Where the control channel meets the network: endpoints and certificates."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from twisted.internet.endpoints import SSL4ServerEndpoint, UNIXServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort

from ..config import ControlConfig
from ..transport.sockets import CannotServe
from . import tls
from .answering import ControlServer
from .connections import ControlFactory


async def listen(
    reactor: Any,
    config: ControlConfig,
    state: Path,
    server: ControlServer,
    names: Iterable[str] = (),
) -> IListeningPort:
    """Open the control channel that a configuration names.

    Where it is stands afterwards in ``control/endpoint`` of the state directory.

    Args:
        reactor: The reactor.
        config: What to open, and with which certificates.
        state: The state directory.
        server: Who answers.
        names: Further names and addresses for a new server certificate.

    Raises:
        ValueError: The endpoint or a certificate cannot be used.
        OSError: A file cannot be written.
        CannotServe: The port or socket is taken.
    """
    directory = state / "control"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        if config.listen.startswith("unix:"):
            port, where = await _listen_unix(reactor, config, state, server)
        else:
            port, where = await _listen_tcp(reactor, config, state, server, names)
    except CannotListenError as error:
        reason = getattr(error.socketError, "strerror", None) or error.socketError
        raise CannotServe(f"[control] listen = {config.listen}: {reason}") from None
    (directory / "endpoint").write_text(where + "\n", encoding="utf-8")
    return port


async def _listen_unix(
    reactor: Any, config: ControlConfig, state: Path, server: ControlServer
) -> tuple[IListeningPort, str]:
    text = config.listen
    first, named = _words(text)
    path = state.absolute() / (first or named.get("address", ""))  # noqa: ASYNC240 - no I/O
    try:
        mode = int(named["mode"], 8)
    except (KeyError, ValueError):
        raise ValueError(f"listen = {text}: needs its mode, as in :mode=660") from None
    authority = state / "control" / "authority.pem"
    is_ours = config.certificate is None and config.authority is None
    server.identities.open(
        state / "control",
        tls.read_certificate(authority) if is_ours and authority.exists() else None,
        has_key=is_ours,
    )
    # With a lock beside it, the socket of a server that crashed is no hindrance.
    endpoint = UNIXServerEndpoint(reactor, str(path), mode=mode, wantPID=True)
    port = await endpoint.listen(ControlFactory(server, reactor, is_secure=False))
    return port, f"unix:{path}"


async def _listen_tcp(
    reactor: Any,
    config: ControlConfig,
    state: Path,
    server: ControlServer,
    names: Iterable[str],
) -> tuple[IListeningPort, str]:
    first, named = _words(config.listen)
    number = first or named.get("port", "")
    known = set(named) <= {"port", "interface"}
    if not known or not number.isdecimal() or int(number) > 65535:
        raise ValueError(
            f"listen = {config.listen}: should be like tcp:6768:interface=127.0.0.1"
        )
    interface = named.get("interface", "127.0.0.1")
    if config.certificate is None or config.authority is None:
        everywhere = interface in _EVERYWHERE
        tls.prepare(state / "control", [*names, *([] if everywhere else [interface])])
    certificate = state / (config.certificate or "control/server.pem")
    authority = state / (config.authority or "control/authority.pem")
    options = tls.server_options(certificate, authority)
    server.identities.open(
        state / "control",
        tls.read_certificate(authority),
        has_key=config.certificate is None and config.authority is None,
    )
    for what, path in (("certificate", certificate), ("authority", authority)):
        end = tls.end_of(tls.read_certificate(path))
        if end is not None:
            server.identities.ends[what] = end
    endpoint = SSL4ServerEndpoint(reactor, int(number), options, 50, interface)
    port = await endpoint.listen(ControlFactory(server, reactor, is_secure=True))
    host = _EVERYWHERE.get(interface, interface)
    host = f"[{host}]" if ":" in host else host
    return port, f"{host}:{port.getHost().port}"


#: Addresses that stand for all, and where a program on this machine finds those.
_EVERYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


def _words(text: str) -> tuple[str, dict[str, str]]:
    """The words of an endpoint behind its kind: the first plain one, the named ones."""
    _, *words = [re.sub(r"\\(.)", r"\1", w) for w in re.split(r"(?<!\\):", text)]
    named = dict(word.split("=", 1) for word in words if "=" in word)
    return next((word for word in words if "=" not in word), ""), named

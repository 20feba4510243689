"""Starting and stopping all of it, in anyone's process."""

from __future__ import annotations

import socket
from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Any, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger
from twisted.python.failure import Failure

from . import __version__
from .client import Client
from .clock import SteadyClock
from .config import Config
from .config.plan import Plan
from .control.answering import ControlServer
from .control.listening import listen
from .exchanges import Responder
from .heartbeat import Heartbeat
from .interfaces import IReservations, IStorage, IStorageService
from .lease import Silence
from .network import Network, Via
from .reloading import Reloading, Source
from .storage.limits import limited
from .storage.make import StorageContext, make_storage
from .transport.counters import Counters
from .transport.frames import PacketSocket
from .transport.probe import Prober
from .transport.protocol import DHCPProtocol
from .transport.sockets import choose_interfaces, open_socket
from .wire.values import visible


_log = Logger()
T = TypeVar("T")

#: Bytes of the largest datagram that is read whole: more than a jumbo frame carries.
LARGEST_PACKET = 9216


class DHCPService(Service):
    """A whole server: its sockets, its storage, its control channel.

    Any number of them can live in one process.  Sockets are opened in
    ``privilegedStartService`` if that is called, so that rights can be dropped
    afterwards, else in ``startService``.

    Args:
        reactor: The reactor.
        config: What to serve.
        storage: Who decides; by default the one that ``config.storage`` names.
        source: Where `reload` finds the configuration: a file's path, or a function that
            gives one; None if it is always given.

    Attributes:
        config: What is served; after a `reload`, the new one.
        counters: What happened to packets.
        network: The subnets, once the sockets are open.
        storage: Who decides, likewise; packets ask it within the limits of ``[storage]``.
        control_port: Where the control channel listens, or None.

    Raises:
        TypeError: What is given as storage does not provide `IStorage`.
    """

    def __init__(
        self,
        reactor: Any,
        config: Config,
        storage: IStorage | None = None,
        *,
        source: Source | None = None,
    ) -> None:
        if storage is not None and not IStorage.providedBy(storage):
            raise TypeError(
                f"a {type(storage).__name__} does not provide"
                " dhcptwist.interfaces.IStorage (is @implementer missing?)"
            )
        self.reactor = reactor
        self.config = config
        self.storage = storage
        self._given_storage = storage
        self.counters = Counters()
        self.clock = SteadyClock()
        self.network = Network(config.subnets, classes=config.classes)
        self.control_port: IListeningPort | None = None
        self._sockets: list[tuple[socket.socket, Via, PacketSocket | None]] = []
        self._frames: list[PacketSocket] = []
        self._prober: Prober | None = None
        self._ports: list[tuple[IListeningPort, DHCPProtocol]] = []
        self._limited: Any = None
        self._heartbeat: Heartbeat | None = None
        self._began = 0.0
        self._interfaces: dict[str, list[int]] = {}
        self._control: ControlServer | None = None
        self._reloading = Reloading(self, source)

    # --- starting -----------------------------------------------------------------

    def privilegedStartService(self) -> None:
        """Open what needs rights.

        Raises:
            CannotServe: An interface or port cannot be had.
            ValueError: The configured storage does not exist.
        """
        super().privilegedStartService()
        self._bind()

    def startService(self) -> None:
        """Begin to serve.

        Raises:
            CannotServe: An interface or port cannot be had.
            StorageUnusable: The storage cannot be opened.
            ValueError: The configured storage or control endpoint does not exist.
        """
        super().startService()
        try:
            if not self._sockets:
                self._bind()
            _now(Deferred.fromCoroutine(self._start()), self._failed_later)
        except BaseException:
            self._close_sockets()
            self.running = 0
            raise

    def _bind(self) -> None:
        interfaces = self._interfaces = choose_interfaces(self.config.interfaces)
        self.network = self.network_for(self.config)
        self._prober = self._privileged(
            lambda: Prober(self.reactor, self.network, interfaces)
        )
        try:
            for name, addresses in interfaces.items():
                self._bind_interface(name, addresses)
            if self.storage is None:
                context = StorageContext(
                    self.network,
                    self.config.reservations,
                    self.config.state,
                    self.reactor,
                    self._prober,
                    self.config.around,
                    self.config.classes,
                )
                self.storage = make_storage(self.config.storage, context)
            self._see_reservations_are_heeded()
        except BaseException:
            self._close_sockets()
            raise

    def _see_reservations_are_heeded(self) -> None:
        count = len(self.config.reservations)
        if count and not IReservations.providedBy(self.storage):
            _log.warn(
                "{count} [reservation] sections are up to {storage}, which takes no"
                " reservations (IReservations)",
                count=count,
                storage=self._given_storage or self.config.storage,
            )

    def _bind_interface(self, name: str, addresses: list[int]) -> None:
        port = self.config.port
        mine = self._known_as(name)
        frames = None
        if name != "lo":
            frames = self._privileged(lambda: PacketSocket(name, mine, port))
        if frames is not None:
            self._frames.append(frames)
        for address in (0, *addresses):
            via = Via(
                name,
                mine,
                unicast=bool(address),
                port=port,
                frames=frames is not None,
            )
            self._sockets.append((open_socket(name, address, port), via, frames))

    def _known_as(self, name: str) -> int:
        """Clients know us by the address that is on their network."""
        addresses = self._interfaces[name]
        link = self.network.link_of_interface(name)
        return next(
            (a for a in addresses if any(subnet.contains(a) for subnet in link)),
            addresses[0],
        )

    @staticmethod
    def _privileged(make: Callable[[], T]) -> T | None:
        try:
            return make()
        except PermissionError:
            return None

    async def _start(self) -> None:
        assert self.storage is not None
        self._began = self.clock()
        if IStorageService.providedBy(self.storage):
            await maybeDeferred(self.storage.start, self._began)
        responder = Responder(self.network, authoritative=self.config.authoritative)
        try:
            if not self.running:
                return  # stopped meanwhile
            await self._listen(responder)
        except BaseException:
            await self._close_storage()
            raise
        self._hear(responder)
        self._heartbeat = Heartbeat(
            self.reactor, self.clock, self.storage, self._limited
        )
        self._heartbeat.start()
        interfaces = sorted({via.interface for _, via, _ in self._sockets})
        _log.info(
            "dhcptwist is serving {subnets} subnets on {interfaces}, port {port}",
            subnets=len(self.network.subnets),
            interfaces=", ".join(interfaces),
            port=self.config.port,
        )

    async def _listen(self, responder: Responder) -> None:
        """Open the control channel, and say where the server is to be found."""
        control, state = self.config.control, self.config.state
        if control.listen:
            self._control = ControlServer(
                self.storage,
                self.network,
                self.clock,
                self.status,
                control.roles,
                reactor=self.reactor,
                reload=self._reloading.asked if self._reloading.has_source else None,
                responder=responder,
                vias=[via for _, via, _ in self._sockets],
                limits=self._refusal,
            )
            names = [socket.gethostname(), *self._addresses()]
            self.control_port = await listen(
                self.reactor, control, state, self._control, names
            )
        self._write_probe_target()

    def _write_probe_target(self) -> None:
        target, state = self._probe_target(), self.config.state
        if target and state.is_dir():
            # For `dhcpctl probe`.
            (state / "probe").write_text(target + "\n", encoding="utf-8")

    def _hear(self, responder: Responder) -> None:
        assert self.storage is not None
        self._limited = limited(self.storage, self.config.around, self.reactor)
        for sock, via, frames in self._sockets:
            protocol = DHCPProtocol(
                via,
                responder,
                self._limited,
                self.counters,
                self.clock,
                frames,
                # The reactor adopts a copy and reads; we write to our own, without the
                # three checks of the address that ``transport.write`` makes.
                sock.sendto,
                self.reactor,
            )
            port = self.reactor.adoptDatagramPort(
                sock.fileno(), socket.AF_INET, protocol, maxPacketSize=LARGEST_PACKET
            )
            self._ports.append((port, protocol))

    def _probe_target(self) -> str:
        """Where a relayed client on this machine is served: address, port, relay."""
        for _, via, _ in self._sockets:
            if via.interface == "lo":
                for subnet in self.network.subnets:
                    for relay in map(IPv4Address, sorted(subnet.relays)):
                        if relay.is_loopback and int(relay) != via.server_id:
                            return f"{IPv4Address(via.server_id)} {via.port} {relay}"
        return ""

    def _addresses(self) -> list[str]:
        return [str(IPv4Address(each)) for each in sorted(self.network.addresses)]

    def _failed_later(self, failure: Failure) -> None:
        """Starting went wrong after ``startService`` had returned."""
        self._close_sockets()
        self.running = 0
        self._could_not_start(failure)

    def _could_not_start(self, failure: Failure) -> None:
        _log.failure("The server could not start", failure)

    # --- while it runs ------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """What `dhcpctl status` shows of the server itself."""
        return {
            "version": __version__,
            "uptime": round(self.clock() - self._began),
            "port": self.config.port,
            "stalls": self._heartbeat.stalls if self._heartbeat else 0,
            "packets": self.counters.figures(),
            "limits": {} if self._limited is None else self._limited.figures(),
        }

    def _refusal(self, client: Client, when: float) -> tuple[Silence, str] | None:
        """Why the limits would keep a client's question from the storage now."""
        limits = self._limited
        refusal: tuple[Silence, str] | None = (
            None if limits is None else limits.refusal(client, when)
        )
        return refusal

    async def reload(
        self, config: Config | None = None, *, by: str = "", only_plan: bool = False
    ) -> Plan:
        """Serve another configuration from the next packet on.

        What needs a restart stays as it is, and is told; everything else is in force
        when this returns, or nothing is: whatever is raised, the old one stays.

        Args:
            config: The new one; by default it is read from where the first came from.
            by: Who wants it, for the log.
            only_plan: Change nothing, and say what would be.

        Raises:
            ConfigError: It has mistakes; all of them.
            CannotReload: The server is not serving, or the configuration is nowhere to
                be found.
        """
        return await self._reloading.run(config, by, only_plan=only_plan)

    @property
    def is_serving(self) -> bool:
        """Whether it has started, and does not stop yet."""
        return bool(self.running) and bool(self._ports)

    def network_for(self, config: Config) -> Network:
        """The subnets of a configuration, on the interfaces that are served."""
        return Network(config.subnets, self._interfaces, config.classes, _unknown_class)

    def change(self, config: Config, network: Network) -> None:
        """Have these from now on; `reload` calls it, and the storage has them already."""
        assert self.storage is not None
        self.config, self.network = config, network
        self._limited = limited(
            self.storage, config.around, self.reactor, self._limited
        )
        if self._heartbeat is not None:
            self._heartbeat.limited = self._limited
        if self._prober is not None:
            self._prober.network = network
        if self._control is not None:
            self._control.serve(network, config.control.roles)
        responder = Responder(network, authoritative=config.authoritative)
        found = []
        for (sock, via, frames), (_, protocol) in zip(
            self._sockets, self._ports, strict=True
        ):
            protocol.responder = responder
            protocol.storage = self._limited
            mine = self._known_as(via.interface)
            protocol.be_known_as(mine)
            if frames is not None:
                frames.speak_as(mine)
            found.append((sock, protocol.via, frames))
        self._sockets = found
        try:
            self._write_probe_target()
        except OSError as error:
            # With the rights of now it may not be ours to write.
            _log.warn("For dhcpctl probe nothing has changed: {why}", why=str(error))

    # --- stopping -----------------------------------------------------------------

    def stopService(self) -> Deferred[None]:
        """Stop hearing, finish what is under way, close."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._heartbeat is not None:
            self._heartbeat.stop()
        if self.control_port is not None:
            await maybeDeferred(self.control_port.stopListening)
            self.control_port = self._control = None
        # What the storage has under way is still answered: its ACKs are true.
        for _, protocol in self._ports:
            protocol.stop_hearing()
        if self._limited is not None:
            self._limited.stop()
        await self._close_storage()
        self._limited = None
        for port, _ in self._ports:
            await maybeDeferred(port.stopListening)
        self._ports = []
        self._close_sockets()

    async def _close_storage(self) -> None:
        if self.storage is not None and IStorageService.providedBy(self.storage):
            await maybeDeferred(self.storage.stop)
        # One of our own is made anew for the next start, with that start's sockets.
        self.storage = self._given_storage

    def _close_sockets(self) -> None:
        for sock, _, _ in self._sockets:
            sock.close()
        for frames in self._frames:
            frames.close()
        if self._prober is not None:
            self._prober.close()
        self._sockets, self._frames, self._prober = [], [], None


def _unknown_class(name: str) -> None:
    _log.warn(
        "A storage names the class {name}, and there is no [class] of that name;"
        " its clients get what their subnet has",
        name=visible(str(name)[:64]),
    )


def _now(started: Deferred[None], later: Callable[[Failure], None]) -> None:
    """Raise what a Deferred has failed with already; hand on what fails later."""
    failed: list[Failure] = []
    over = False

    def fail(failure: Failure) -> None:
        if over:
            later(failure)
        else:
            failed.append(failure)

    started.addErrback(fail)
    over = True
    if failed:
        failed[0].raiseException()

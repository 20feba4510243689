"""An embedded storage whose clock, thread and faults are in a test's hands."""

from __future__ import annotations

from ipaddress import IPv4Address

from twisted.internet.task import Clock

from dhcptwist.storage.sqlite import SQLiteStorage
from dhcptwist.storage.sqlite_journal import PACE
from dhcptwist.testing import MemoryServer, answer, network
from dhcptwist.wire import MessageType


DISCOVER, REQUEST = MessageType.DISCOVER, MessageType.REQUEST
US = "192.0.2.1"


class FakeReactor(Clock):
    """A clock whose ``callFromThread`` is at once."""

    def callFromThread(self, function, *arguments):
        """Call it."""
        function(*arguments)


class Disk:
    """A storage whose reactor, thread and faults are in the test's hands."""

    def __init__(self, path, reservations=(), net=None, when=1000.0, **keys):
        self.path = path
        self.reactor = FakeReactor()
        self.network = network() if net is None else net
        self.storage = SQLiteStorage(
            self.network, path, self.reactor, reservations, **keys
        )
        self.storage.start(when)
        # The thread has nothing to do: the test takes its work.
        journal = self.storage.journal
        journal._work.put(None)
        journal._thread.join()
        journal._thread = None
        self.server = MemoryServer(self.network, self.storage)
        self.server.now = when
        self.fault = None
        file = self.storage.journal._file
        self._write = file.write
        file.write = self.write

    def write(self, batch):
        """What the journal calls; fails if told to."""
        if self.fault is not None:
            raise self.fault
        return self._write(batch)

    def begin(self):
        """Let a transaction begin that is due."""
        self.reactor.advance(PACE)

    def finish(self):
        """Do what the thread would do now."""
        journal = self.storage.journal
        if not journal._work.empty():
            journal._work.put(None)
            journal._run()

    def sync(self):
        """Write everything that waits."""
        for _ in range(20):
            self.begin()
            self.finish()

    def bind(self, who):
        """A whole exchange, written."""
        offer = self.server.receive(who.message(DISCOVER)).message
        wanted = str(IPv4Address(offer.yiaddr))
        self.server.receive(who.message(REQUEST, requested=wanted, server=US))
        self.sync()
        return self.server.sent[-1].message

    def tick(self, seconds=1.0):
        """Let time pass, and the storage see it."""
        self.server.now += seconds
        self.storage.clock_ticked(self.server.now)
        self.sync()

    def events(self):
        """Everything that happened, from the file."""
        return self.storage._reader.events(0, 1 << 30)

    def kinds(self):
        """What happened, in words."""
        return [event.kind.name.lower() for event in self.events()]

    def close(self):
        """Stop as the server would."""
        stopped = self.storage.stop()
        self.sync()
        answer(stopped)

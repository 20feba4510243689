"""A storage whose verbs wait for a file or a database: they wait in a thread."""

from twisted.internet.defer import DeferredLock
from twisted.internet.threads import deferToThread
from zope.interface import implementer

from dhcptwist.interfaces import IStorage


@implementer(IStorage)
class Threaded:
    def __init__(self, storage):
        self.storage = storage
        self.lock = DeferredLock()  # one verb at a time, as in the reactor's own thread

    def _ask(self, verb, *arguments):
        return self.lock.run(deferToThread, verb, *arguments)

    def offer(self, client, when):
        return self._ask(self.storage.offer, client, when)

    def commit(self, client, address, when):
        return self._ask(self.storage.commit, client, address, when)

    def release(self, client, address, when):
        return self._ask(self.storage.release, client, address, when)

    def decline(self, client, address, when):
        return self._ask(self.storage.decline, client, address, when)

    def configure(self, client, when):
        return self._ask(self.storage.configure, client, when)

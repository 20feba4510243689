"""A storage of one's own: who is in the table has an address, and nobody else."""

from ipaddress import IPv4Address

from zope.interface import implementer

from dhcptwist.interfaces import IStorage
from dhcptwist.lease import Lease, Refused, Settings


@implementer(IStorage)
class Table:
    def __init__(self, addresses):
        self.addresses = addresses

    def offer(self, client, when):
        address = self.addresses.get(client.hardware[1:].hex(":"))
        return address and Lease(int(IPv4Address(address)), duration=3600)

    def commit(self, client, address, when):
        lease = self.offer(client, when)
        return Refused("not yours") if lease and lease.address != address else lease

    def release(self, client, address, when):
        return False

    def decline(self, client, address, when):
        return False

    def configure(self, client, when):
        return Settings()


def make(context):
    return Table({"00:11:22:33:44:55": "192.0.2.50", "00:11:22:33:44:66": "192.0.2.51"})

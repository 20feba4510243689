"""The club's own table decides who gets which address; guests get a free one."""

from ipaddress import IPv4Address

from twisted.enterprise.adbapi import ConnectionPool

from dhcptwist.lease import Reservation
from dhcptwist.storage.sqlite import SQLiteStorage


class Members(SQLiteStorage):
    database = ConnectionPool("sqlite3", "members.sqlite", check_same_thread=False)
    query = "SELECT address FROM computer WHERE hardware = ?"

    async def reservation_for(self, client):
        hardware = client.hardware[1:].hex(":")
        found = await self.database.runQuery(self.query, (hardware,))
        if not found:
            return super().reservation_for(client)
        return Reservation(int(IPv4Address(found[0][0])), hardware=client.hardware)


def make(context):
    path = context.state / "leases.sqlite"
    return Members(context.network, path, context.reactor, context.reservations)

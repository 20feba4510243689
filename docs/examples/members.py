"""The club's own table decides: members, guests, and who may not come in."""

from ipaddress import IPv4Address

from twisted.enterprise.adbapi import ConnectionPool

from dhcptwist.lease import Refused, Reservation, Settings
from dhcptwist.storage.sqlite import SQLiteStorage


class Members(SQLiteStorage):
    """Of a table: member (mac TEXT PRIMARY KEY, name TEXT, address TEXT, allowed INT)."""

    database = ConnectionPool("sqlite3", "members.sqlite", check_same_thread=False)
    query = "SELECT name, address, allowed FROM member WHERE mac = ?"

    async def reservation_for(self, client):
        mac = client.hardware[1:].hex(":")
        rows = await self.database.runQuery(self.query, (mac,))
        if not rows:
            return super().reservation_for(client)  # a guest: any free address
        [(name, address, allowed)] = rows
        if not allowed:
            return Refused("not allowed here")  # no offer; a NAK for what it has
        return Reservation(
            None if address is None else int(IPv4Address(address)),
            hardware=client.hardware,
            settings=Settings(hostname=name),
        )

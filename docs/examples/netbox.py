"""Push a reservation into a running server, and learn what really happens."""

from pathlib import Path

from twisted.internet.task import react

from dhcptwist.control.client import AddressInUse, connect


async def main(reactor):
    identity = Path("dhcptwist-state/control/admin.pem")
    client = await connect(reactor, "localhost:6768", identity)
    try:
        verdict = await client.reserve(
            "192.0.2.60", hardware="00:11:22:33:44:77", on_conflict="refuse"
        )
        print(verdict.outcome)
    except AddressInUse as error:
        print("it belongs to", error.details["holder"])
    async for lease in client.leases():
        print(lease["address"], lease["state"], lease["hostname"])
    await client.close()


react(main)

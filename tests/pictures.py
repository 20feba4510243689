"""All that a pool knows, to be compared before and after what must not change it."""

from __future__ import annotations


def shown(lease):
    """All of a lease that could change."""
    return (lease.address, lease.state, lease.key, lease.expires, id(lease.queued))


def picture(storage):
    """Everything a pool knows, to be compared."""
    index = storage.index
    return {
        "leases": {a: (id(each), shown(each)) for a, each in index.leases.items()},
        "offers": {a: (id(each), shown(each)) for a, each in index.offers.items()},
        "offer_of": dict(index.offer_of),
        "by_hardware": dict(index.by_hardware),
        "ends": {second: list(page) for second, page in index.ends.pages.items()},
        "seconds": list(index.ends._seconds),
        "areas": {
            name: (
                dict(area.clients),
                list(map(id, area.lapses)),
                list(area.free._lapsed),
                (area.free._range, area.free._next),
                list(area.free._used),
            )
            for name, area in index._areas.items()
        },
        "relays": set(storage._relays),
        "reserved": dict(storage.reserved.by_address),
        "who": dict(storage.reserved._by_who),
        "lifetimes": list(storage.reserved._lifetimes),
    }

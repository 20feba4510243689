"""Two servers in one process, each with its own port, pool and state."""

from twisted.application.service import MultiService
from twisted.internet import reactor

from dhcptwist.config import parse
from dhcptwist.service import DHCPService


INI = "[server]\ninterfaces = lo\nport = {port}\nstate = state-{port}\n[control]\nlisten=\n"
NET = "[subnet {net}]\nnetwork = {net}.0/24\npools = {net}.10 - {net}.99\nrelays = 127.0.0.2\n"
servers = MultiService()
for port, net in ((6767, "192.0.2"), (6769, "198.51.100")):
    config = parse(INI.format(port=port) + NET.format(net=net))
    servers.addService(DHCPService(reactor, config))
servers.startService()
reactor.addSystemEventTrigger("before", "shutdown", servers.stopService)
reactor.run()

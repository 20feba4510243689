"""A DHCP server inside another Twisted program."""

from table import Table
from twisted.internet import reactor

from dhcptwist.clock import steady_timers
from dhcptwist.config import load
from dhcptwist.service import DHCPService


steady_timers(reactor)  # a wall clock that is set back stops nothing
storage = Table({"00:11:22:33:44:55": "192.0.2.50"})
service = DHCPService(reactor, load("etc/dhcp.ini"), storage)
service.startService()
reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
reactor.run()

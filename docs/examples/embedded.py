"""A DHCP server inside another Twisted program."""

from table import Table
from twisted.internet import reactor

from dhcptwist.config import load
from dhcptwist.service import DHCPService


storage = Table({"00:11:22:33:44:55": "192.0.2.50"})
service = DHCPService(reactor, load("etc/dhcp.ini"), storage)
service.startService()
reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
reactor.run()

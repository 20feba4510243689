"""Tell twistd that `dhcp` exists, at no cost to those who run something else."""

from twisted.application.service import ServiceMaker


dhcp = ServiceMaker("dhcptwist", "dhcptwist.tap", "A DHCPv4 server.", "dhcp")

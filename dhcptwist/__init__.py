"""A DHCPv4 server for those who decide in their own system who gets which address.

Nothing is imported here, so that a program which only wants `dhcptwist.wire` pays
for that alone.
"""

__version__ = "0.1.0"

"""The leases in a capture: python capture.py FILE."""

import sys
from ipaddress import IPv4Address

from dhcptwist.wire import MessageType
from dhcptwist.wire.capture import captured


for packet in captured(sys.argv[1]):
    message = packet.message
    if message and message.type is MessageType.ACK and message.yiaddr:
        address = IPv4Address(message.yiaddr)
        print(address, message.chaddr.hex(":"), message.lease_time, message.host_name)

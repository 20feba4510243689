"""The table of what options are."""

from __future__ import annotations

import pytest

from dhcptwist.wire import OPTION_KINDS, option_kind, values as v


# Some of those that people write; taken from the manuals of ISC dhcpd and Kea.
OPTION_NAMES = {
    "subnet-mask": 1, "time-offset": 2, "routers": 3, "time-servers": 4,
    "domain-name-servers": 6, "log-servers": 7, "lpr-servers": 9, "host-name": 12,
    "boot-size": 13, "domain-name": 15, "swap-server": 16, "root-path": 17,
    "ip-forwarding": 19, "policy-filter": 21, "interface-mtu": 26,
    "broadcast-address": 28, "static-routes": 33, "nis-domain": 40,
    "nis-servers": 41, "ntp-servers": 42, "vendor-encapsulated-options": 43,
    "netbios-name-servers": 44, "netbios-node-type": 46, "netbios-scope": 47,
    "dhcp-requested-address": 50, "dhcp-lease-time": 51, "dhcp-message-type": 53,
    "dhcp-server-identifier": 54, "dhcp-parameter-request-list": 55,
    "dhcp-max-message-size": 57, "dhcp-renewal-time": 58, "dhcp-rebinding-time": 59,
    "vendor-class-identifier": 60, "dhcp-client-identifier": 61,
    "tftp-server-name": 66, "boot-file-name": 67, "smtp-server": 69,
    "user-class": 77, "dhcp-agent-options": 82, "uuid-guid": 97,
    "v6-only-preferred": 108, "v4-captive-portal": 114, "subnet-selection": 118,
    "domain-search": 119, "classless-static-route": 121, "vivso-suboptions": 125,
    "capwap-ac-v4": 138,
}  # fmt: skip


class TestOptionKind:
    """The table of what options are."""

    @pytest.mark.parametrize(("name", "code"), OPTION_NAMES.items())
    def test_names(self, name, code):
        """ISC's and Kea's names, and the numbers, lead to the same."""
        kind = option_kind(name)
        assert (kind.code, kind.name) == (code, name)
        assert option_kind(code) is option_kind(str(code)) is option_kind(f" {name} ")

    def test_table(self):
        """Every row is found by its name and its number; no name is there twice."""
        for code, kind in OPTION_KINDS.items():
            assert option_kind(code) is option_kind(kind.name) is kind
            assert kind.code == code
        assert len({kind.name for kind in OPTION_KINDS.values()}) == len(OPTION_KINDS)

    @pytest.mark.parametrize("code", [224, "224", "0224"])
    def test_unknown_number(self, code):
        """An option that nobody has described is bytes."""
        kind = option_kind(code)
        assert (kind.code, kind.name, kind.shape) == (224, "option-224", v.OPAQUE)

    @pytest.mark.parametrize("code", [0, 255, 256, "0", "255", 10**9])
    def test_no_such_number(self, code):
        """PAD and END are no options, nor is what does not fit a byte."""
        reason = f"options have the numbers 1 to 254, not {code}"
        with pytest.raises(ValueError, match=reason):
            option_kind(code)

    @pytest.mark.parametrize("name", ["router", "", "Routers", "-1", -1, "3.0", "²"])
    def test_no_such_name(self, name):
        """An unknown name is refused, and the reason repeats it."""
        with pytest.raises(ValueError, match=f"^there is no option named '{name}'$"):
            option_kind(name)

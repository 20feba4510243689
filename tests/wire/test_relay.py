"""RFC 3046: the sub-options of option 82."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from support import UNTIMED

from dhcptwist.wire import relay


class TestRelay:
    """RFC 3046: option 82."""

    def test_split(self):
        """Sub-options by code; a trailing zero is part of the value (TRAPS 29)."""
        data = b"\x01\x05eth0\0\x02\x03\0\1\0\x97\x00"
        assert relay.split(data) == {1: b"eth0\0", 2: b"\0\1\0", 0x97: b""}

    def test_no_pad_and_no_end(self):
        """RFC 3046 section 2.0: codes 0 and 255 are sub-options like others."""
        assert relay.split(b"\0\1a\xff\1b\1\1c") == {0: b"a", 255: b"b", 1: b"c"}

    def test_first_wins(self):
        """Of two with one code the first counts."""
        assert relay.split(b"\1\1a\1\1b\2\1c") == {1: b"a", 2: b"c"}

    @pytest.mark.parametrize("tail", [b"", b"\2", b"\2\1", b"\2\xffabc"])
    def test_overrun(self, tail):
        """What runs past the end stops the reading; what came before counts."""
        assert relay.split(b"\1\1a" + tail) == {1: b"a"}

    @UNTIMED
    @given(st.dictionaries(st.integers(0, 255), st.binary(max_size=255), max_size=6))
    def test_join(self, suboptions):
        """Joined and split again they are the same, in the same order."""
        again = relay.split(relay.join(suboptions))
        assert list(again.items()) == list(suboptions.items())

    def test_join_refuses(self):
        """A sub-option has at most 255 bytes."""
        with pytest.raises(ValueError, match="256"):
            relay.join({1: bytes(256)})

    def test_many_suboptions(self):
        """An option 82 of 64 KiB costs no more than an honest one."""
        data = b"\x01\x01a" * 255 + b"\x02\x01b" + b"\x03\x01c" * 21_000
        assert relay.split(data) == {1: b"a", 2: b"b"}

"""What is said between the server and a web service is what its schema says."""

from __future__ import annotations

import copy
import http.server
import json
import re
import runpy
import sys
from ipaddress import IPv4Address
from math import nan
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings, strategies as st

from dhcptwist.client import Client, ClientState
from dhcptwist.lease import (
    Lease,
    Refused,
    Reservation,
    Settings,
    Silence,
    parse_hardware,
    parse_identifier,
)
from dhcptwist.network import Network, Via
from dhcptwist.storage.answers import ANSWERS, Answers, BadAnswer
from dhcptwist.storage.http import HTTPStorage
from dhcptwist.storage.questions import question
from dhcptwist.testing import FakeClient, StorageContract, ip, network, subnet
from dhcptwist.wire import MessageType
from dhcptwist.wire.codes import INFINITE
from dhcptwist.wire.options import option_kind
from dhcptwist.wire.relay import RELAY_INFORMATION, join, split


ROOT = Path(__file__).resolve().parents[1]
SCHEMA = json.loads((ROOT / "docs" / "http-storage.schema.json").read_text("utf-8"))
PAGE = (ROOT / "docs" / "http.md").read_text("utf-8")
SERVICE = ROOT / "docs" / "examples" / "webservice.py"
NET = network()
ADDRESS = ip("192.0.2.10")
VERBS = ("offer", "commit", "release", "decline", "configure", "reservation")


def part(path, schema=SCHEMA):
    """A validator of one part of the schema."""
    whole = {name: value for name, value in schema.items() if name != "anyOf"}
    return jsonschema.Draft202012Validator({**whole, "$ref": path})


def strict(schema):
    """The schema without room for members that it does not describe."""
    schema = copy.deepcopy(schema)
    client = schema["$defs"]["client"]
    for each in (
        schema["$defs"]["question"],
        client,
        client["properties"]["relay"],
        client["properties"]["subnets"]["items"],
    ):
        each["additionalProperties"] = False
    return schema


QUESTION = part("#/$defs/question", strict(SCHEMA))
ANSWER = {verb: part(f"#/$defs/answers/{verb}") for verb in VERBS}


def asks(who=None, state=ClientState.SELECTING, wish="192.0.2.10", **fields):
    """What the server knows of a client."""
    return (who or FakeClient()).client(NET, state, wish, **fields)


def asked(verb="offer", client=None, address=None, when=1000.5):
    """One question, read back, and as it should be."""
    found = json.loads(question(verb, client or asks(), when, "n-7", address))
    QUESTION.validate(found)
    return found


def read(verb, document, client=None):
    """What the server makes of an answer."""
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    return Answers().read(verb, text, client or asks())


def test_it_is_a_schema():
    """Of the draft that it names."""
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert tuple(SCHEMA["$defs"]["answers"]) == tuple(ANSWERS) == VERBS
    whole = jsonschema.Draft202012Validator(SCHEMA)
    assert whole.is_valid(asked())
    assert whole.is_valid({"done": True})
    assert not whole.is_valid({"verb": "offer"})


class TestQuestions:
    """What is asked."""

    def test_what_is_known(self):
        """Each member, by its meaning."""
        who = FakeClient(
            identifier=b"\x00me",
            options={
                12: b"laptop\0",
                51: b"\0\0\2\x58",
                55: bytes([1, 3, 224, 0]),
                60: b"PXEClient:Arch:00007",
                77: b"\x04ward\x02it",
                82: b"\x01\x04eth1\x02\x02\xff\xfe\x05\x04\xc0\x00\x02\x00\x63\x01\x07",
                224: b"\1",
            },
            giaddr="192.0.2.2",
        )
        found = asked("commit", asks(who), ip("192.0.2.10"), 1000.5)
        client = found.pop("client")
        assert found == {
            "version": 1,
            "verb": "commit",
            "id": "n-7",
            "when": 1000.5,
            "address": "192.0.2.10",
        }
        options = client.pop("options")
        assert client == {
            "hardware": "02:00:00:00:00:01",
            "identifier": "hex:006d65",
            "key": "hex:006d65",
            "state": "selecting",
            "requested": "192.0.2.10",
            "requested_time": 600,
            "hostname": "laptop",
            "vendor_class": "PXEClient:Arch:00007",
            "user_class": ["ward", "it"],
            "relay": {
                "giaddr": "192.0.2.2",
                "circuit_id": "eth1",
                "remote_id": "hex:fffe",
                "suboptions": {
                    "circuit-id": "eth1",
                    "remote-id": "hex:fffe",
                    "link-selection": "192.0.2.0",
                    "99": "hex:07",
                },
            },
            "subnets": [{"name": "lan", "network": "192.0.2.0/24"}],
            "interface": "eth0",
            "server": "192.0.2.1",
            "parameter_request_list": [
                *("subnet-mask", "routers", "option-224", "option-0"),
            ],
        }
        assert options["dhcp-message-type"] == "request"
        assert options["host-name"] == "hex:6c6170746f7000"  # nothing is lost
        assert options["option-224"] == "hex:01"
        assert set(options) == {
            option_kind(code).name for code in asks(who).message.options
        }

    def test_what_is_not(self):
        """A client that says nothing: everything is there, and null."""
        message = FakeClient().message(MessageType.DISCOVER)
        client = Client(message, (), Via("eth0", ip("192.0.2.1")))
        found = asked("offer", client)
        assert "address" not in found
        known = found["client"]
        assert known["key"] == "hex:01020000000001"
        assert (known["state"], known["options"]) == (
            "init",
            {"dhcp-message-type": "discover"},
        )
        assert {name for name, value in known.items() if value is None} == {
            *("identifier", "requested", "requested_time", "hostname", "vendor_class"),
            *("relay", "parameter_request_list"),
        }
        assert (known["user_class"], known["subnets"]) == ([], [])

    @pytest.mark.parametrize("state", ClientState)
    def test_states(self, state):
        """Each has the name that the schema knows."""
        assert asked("configure", asks(state=state))["client"]["state"] in (
            state.name.lower(),
            "init-reboot",
        )

    @pytest.mark.parametrize(
        ("data", "classes"),
        [
            (b"iPXE", ["iPXE"]),
            (b"\x04iPXE", ["iPXE"]),
            (b"\x01a\x01b", ["a", "b"]),
            (b"a\nb", ["a\\x0ab"]),
            (b"\xff", ["\\xff"]),
            (b"", []),
        ],
    )
    def test_user_classes(self, data, classes):
        """Both dialects of option 77 are lists here, and nothing moves a cursor."""
        client = asks(FakeClient(options={77: data}))
        assert asked("offer", client)["client"]["user_class"] == classes

    def test_relay_without_an_address(self):
        """A switch that puts in option 82, and is no relay."""
        client = asks(FakeClient(options={82: b"\x01\x01\x07"}))
        relay = asked("offer", client)["client"]["relay"]
        assert (relay["giaddr"], relay["circuit_id"]) == (None, "hex:07")

    def test_relay_that_says_nothing(self):
        """An old one, without option 82."""
        relay = asked("offer", asks(FakeClient(giaddr="192.0.2.9")))["client"]["relay"]
        assert relay == {
            "giaddr": "192.0.2.9",
            "circuit_id": None,
            "remote_id": None,
            "suboptions": {},
        }

    @pytest.mark.parametrize(
        "bad",
        [
            {"version": 2},
            {"verb": "lease"},
            {"id": ""},
            {"when": "now"},
            {"address": None},
            {"address": "192.0.2.300"},
            {"client": {}},
            {"more": 1},
        ],
    )
    def test_the_schema_sees_what_is_wrong(self, bad):
        """Lest a question be right because nothing is looked at."""
        found = asked("commit", address=5)
        assert not QUESTION.is_valid({**found, **bad})

    @pytest.mark.parametrize("verb", ["commit", "decline"])
    def test_an_address_is_needed(self, verb):
        """It is what these two are about; and for the others there is none."""
        found = asked(verb, address=5)
        del found["address"]
        assert not QUESTION.is_valid(found)
        assert not QUESTION.is_valid({**found, "verb": "offer", "address": "1.2.3.4"})

    @settings(deadline=None)
    @given(
        st.dictionaries(
            st.integers(1, 254).filter(lambda code: code not in {52, 53}),
            st.binary(max_size=80),
            max_size=12,
        ),
        st.sampled_from(["0.0.0.0", "192.0.2.2"]),
        st.sampled_from([("", b""), ("20/0102", b"\xff\1"), ("6/00", b"hex:61")]),
    )
    def test_whatever_clients_send(self, options, giaddr, identity):
        """It is what the schema says, it is JSON, and all options can be had back."""
        hardware, identifier = identity
        who = FakeClient(
            hardware or "02:00:00:00:00:01",
            identifier=identifier,
            options=options,
            giaddr=giaddr,
        )
        client = asks(who)
        known = asked("offer", client)["client"]
        sent = client.message.options
        back = {}
        for name, text in known["options"].items():
            kind = option_kind(name)
            back[kind.code] = kind.shape.encode_text(text)
        assert back == dict(sent)
        assert parse_identifier(known["key"]) == client.key
        assert parse_hardware(known["hardware"]) == client.hardware
        if 82 in sent:
            told = known["relay"]["suboptions"].items()
            assert b"".join(
                RELAY_INFORMATION.encode({name: value}) for name, value in told
            ) == join(split(sent[82]))


GOOD = [
    ("offer", {"lease": {"address": "192.0.2.10", "lease_time": 60}}),
    ("offer", {"lease": None}),
    ("offer", {"silence": "pool-exhausted"}),
    ("offer", {"silence": "banned", "refused": 5, "of a newer service": [1]}),
    (
        "commit",
        {"version": 1, "lease": {"address": "1.2.3.4", "lease_time": "infinite"}},
    ),
    ("commit", {"refused": "not yours"}),
    ("commit", {"lease": None}),
    ("release", {"done": True}),
    ("decline", {"done": False}),
    ("decline", {"silence": "busy"}),
    ("configure", {"settings": {}}),
    ("configure", {"settings": {"options": {"routers": "192.0.2.1"}}}),
    ("configure", {"silence": "not here"}),
    ("reservation", {"reservation": None}),
    ("reservation", {"reservation": {}}),
    ("reservation", {"reservation": {"hostname": "printer", "address": None}}),
    ("reservation", {"refused": "banned"}),
]

LEASE = {"address": "192.0.2.10", "lease_time": 60}
BAD = [
    ("offer", [], "its answer is no object"),
    ("offer", "lease", "its answer is no object"),
    ("offer", {}, "one of lease, silence, not with none of them"),
    ("offer", {"refused": "a DISCOVER is not refused"}, "not with none of them"),
    ("offer", {"lease": LEASE, "silence": "x"}, "not with lease and silence"),
    ("offer", {"lease": 5}, "lease: 5 is no object"),
    ("offer", {"lease": {"lease_time": 60}}, "lease.address: null is not an IPv4"),
    (
        "offer",
        {"lease": {**LEASE, "address": "192.0.2.300"}},
        r'lease.address: "192.0.2.300" is not',
    ),
    ("offer", {"lease": {**LEASE, "address": 5}}, "lease.address: 5 is not"),
    ("offer", {"lease": {**LEASE, "address": "0.0.0.0"}}, "lease.address: 0.0.0.0 is"),
    ("offer", {"lease": {**LEASE, "address": "224.0.0.1"}}, "lease.address: 224.0.0"),
    ("offer", {"lease": {"address": "192.0.2.10"}}, "lease.lease_time: null is no who"),
    ("offer", {"lease": {**LEASE, "lease_time": 0}}, "lease.lease_time: 0 is not from"),
    ("offer", {"lease": {**LEASE, "lease_time": True}}, "lease.lease_time: true is no"),
    ("offer", {"lease": {**LEASE, "lease_time": 1.5}}, "lease.lease_time: 1.5 is no"),
    ("offer", {"lease": {**LEASE, "lease_time": "60"}}, r'lease.lease_time: "60" is'),
    (
        "offer",
        {"lease": {**LEASE, "lease_time": 2**32}},
        "lease.lease_time: 4294967296",
    ),
    ("offer", {"lease": {**LEASE, "hostname": "a\n"}}, r'lease.hostname: "a\\n" is no'),
    ("offer", {"lease": {**LEASE, "hostname": ""}}, 'lease.hostname: "" is no text'),
    ("offer", {"lease": {**LEASE, "hostname": "x" * 256}}, "lease.hostname: .xxx"),
    ("offer", {"lease": {**LEASE, "class": 5}}, "lease.class: 5 is no text"),
    ("offer", {"version": 2, "lease": LEASE}, "version: 2 is not 1"),
    ("offer", {"version": True, "lease": LEASE}, "version: true is not 1"),
    ("offer", {"silence": 5}, "silence: 5 is no text"),
    ("commit", {"refused": ""}, 'refused: "" is no text'),
    ("commit", {"refused": None}, "refused: null is no text"),
    ("release", {"done": "yes"}, 'done: "yes" is neither true nor false'),
    ("release", {"done": None}, "done: null is neither"),
    ("decline", {"lease": LEASE}, "decline is answered with one of done, silence"),
    ("configure", {"settings": None}, "settings: null is no object"),
    ("configure", {"settings": {"boot_file": "x" * 128}}, "settings.boot_file"),
    ("configure", {"settings": {"server_name": "ü"}}, "settings.server_name"),
    ("configure", {"settings": {"renewal_time": 1.5}}, "settings.renewal_time: 1.5"),
    (
        "configure",
        {"settings": {"rebinding_time": INFINITE}},
        "settings.rebinding_time",
    ),
    ("configure", {"settings": {"options": ["routers"]}}, "settings.options: .* is no"),
    (
        "configure",
        {"settings": {"options": {"routers": None}}},
        "options.routers: null",
    ),
    ("configure", {"settings": {"next_server": 5}}, "settings.next_server: 5 is not"),
    ("reservation", {"reservation": []}, r"reservation: \[\] is no object"),
    ("reservation", {"reservation": {"address": "x"}}, "reservation.address"),
]


class TestAnswers:
    """What is accepted is what the schema says; an error names the member."""

    @pytest.mark.parametrize(("verb", "document"), GOOD)
    def test_good(self, verb, document):
        """It makes what a storage would return."""
        assert ANSWER[verb].is_valid(document)
        found = read(verb, document)
        kinds = (Lease, Refused, Silence, Settings, Reservation, bool, type(None))
        assert isinstance(found, kinds)

    @pytest.mark.parametrize(("verb", "document", "reason"), BAD)
    def test_bad(self, verb, document, reason):
        """Neither of the two takes it."""
        assert not ANSWER[verb].is_valid(document)
        with pytest.raises(BadAnswer, match=reason) as caught:
            read(verb, document)
        assert str(caught.value).isprintable()
        assert caught.value.is_logged

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            (b"", "no JSON: Expecting value"),
            (b"<html>", "no JSON: Expecting value"),
            (b'{"lease": nul', "no JSON: Expecting value"),
            (b"\xff\xfe\xfd", "no JSON: .*decode"),
            (b"[" * 60000, "nested too deep"),
            (b'{"lease":{"address":"1.2.3.4","lease_time":NaN}}', "lease_time: NaN"),
            (
                b'{"lease":{"address":"1.2.3.4","lease_time":' + b"9" * 5000 + b"}}",
                "no JSON: Exceeds",
            ),
            (rb'{"refused": "\ud800"}', r"refused: .\\ud800. is no text"),
            (
                b'{"settings":{"options":{"routers":'
                + b"[" * 900
                + b"]" * 900
                + b"}}}",
                "settings.options.routers|nested too deep",
            ),
        ],
        ids=lambda each: str(each)[:20],
    )
    def test_no_json(self, text, reason):
        """Whatever else a web server may say."""
        verb = "configure" if b"settings" in text else "commit"
        with pytest.raises(BadAnswer, match=reason):
            read(verb, text)

    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            ({"dhcp-lease-time": "5"}, "dhcp-lease-time: belongs to the protocol"),
            ({"82": "hex:0101"}, "82: belongs to the protocol"),
            ({"no-such": "5"}, "no-such: there is no option named 'no-such'"),
            ({"routers": "5"}, r"routers: routers \(3\): '5' is not an IPv4 address"),
            ({"routers": {"a": 1}}, "routers: "),
            ({"interface-mtu": 70000}, "interface-mtu: .*70000"),
            ({"interface-mtu": 1.5}, "interface-mtu: "),
            ({"3": "192.0.2.1", "routers": "192.0.2.1"}, "routers: is there twice"),
            ({"a\nb" * 99: "5"}, r"a\\x0ab"),
            ({"256": "hex:00"}, "256: options have the numbers 1 to 254"),
        ],
    )
    def test_options_that_are_none(self, options, reason):
        """What no schema can know: which options there are, and what fits them."""
        document = {"settings": {"options": options}}
        assert ANSWER["configure"].is_valid(document)
        with pytest.raises(BadAnswer, match=rf"^settings\.options\.{reason}|^{reason}"):
            read("configure", document)

    def test_everything_of_a_lease(self):
        """Address, times, options, boot file, hostname, class."""
        lease = {
            "address": "192.0.2.10",
            "lease_time": 600,
            "hostname": "printer",
            "class": "pxe",
            "renewal_time": 100,
            "rebinding_time": 200.0,
            "options": {"routers": "192.0.2.1", "224": "hex:0102", "mtu?": 1},
            "next_server": "192.0.2.3",
            "boot_file": "pxelinux.0",
            "server_name": "boot",
            "colour": "red",
        }
        del lease["options"]["mtu?"]
        assert ANSWER["offer"].is_valid({"lease": lease})
        found = read("offer", {"lease": lease})
        assert (found.address, found.duration) == (ip("192.0.2.10"), 600)
        assert found.settings == Settings(
            {3: b"\xc0\0\2\1", 224: b"\1\2"},
            ip("192.0.2.3"),
            "pxelinux.0",
            "boot",
            "printer",
            100,
            200,
            "pxe",
        )

    def test_nothing_but_an_address(self):
        """Everything else comes from the subnet, and costs nothing."""
        lease = dict.fromkeys(("options", "hostname", "class", "next_server"))
        found = read("commit", {"lease": {**LEASE, **lease}})
        assert found.settings is None
        assert found.duration == 60

    @pytest.mark.parametrize("time", ["infinite", INFINITE, float(INFINITE)])
    def test_infinite(self, time):
        """By its word or by its number."""
        assert read("commit", {"lease": {**LEASE, "lease_time": time}}).duration == (
            INFINITE
        )

    @pytest.mark.parametrize(
        ("name", "value", "data"),
        [
            ("routers", "192.0.2.1, 192.0.2.2", b"\xc0\0\2\1\xc0\0\2\2"),
            ("routers", ["192.0.2.1", "192.0.2.2"], b"\xc0\0\2\1\xc0\0\2\2"),
            ("interface-mtu", "1400", b"\5\x78"),
            ("interface-mtu", 1400, b"\5\x78"),
            ("all-subnets-local", True, b"\1"),
            ("all-subnets-local", "false", b"\0"),
            ("domain-name", "hex:61", b"a"),
            (
                "classless-static-route",
                "10.0.0.0/8 - 192.0.2.1",
                b"\x08\x0a\xc0\x00\x02\x01",
            ),
        ],
    )
    def test_option_values(self, name, value, data):
        """As the ini file has them, or as the wire library's JSON does."""
        document = {"settings": {"options": {name: value}}}
        assert ANSWER["configure"].is_valid(document)
        assert list(read("configure", document).options.values()) == [data]

    def test_silences(self):
        """A reason that we count keeps its name; the server's own it cannot use."""
        for name in ("no-lease", "not-allowed", "pool-exhausted", "unknown-client"):
            assert read("offer", {"silence": name}) is Silence(name)
        for name in ("bug", "storage-late", "malformed", "I do not like it"):
            assert read("offer", {"silence": name}) is Silence.NOT_ALLOWED

    def test_a_reservation_is_the_client_s(self):
        """By its hardware address; by its identifier if it has none, or only zeros."""
        document = {"reservation": {"address": "192.0.2.12", "hostname": "printer"}}
        found = read("reservation", document)
        assert found == Reservation(
            ip("192.0.2.12"),
            hardware=FakeClient().hardware,
            hostname="printer",
            settings=Settings(hostname="printer"),
            source="http",
        )
        for who in (
            FakeClient("32/00:00", b"\xffid", hlen=0),
            FakeClient("00:00:00:00:00:00", b"\xffid"),
        ):
            found = read("reservation", document, asks(who))
            assert (found.hardware, found.client_id) == (b"", b"\xffid")

    def test_the_same_settings_are_the_same_object(self):
        """Who encodes them remembers what they become."""
        answers = Answers()

        def settings_of(hostname):
            lease = {**LEASE, "options": {"routers": "192.0.2.1"}, "hostname": hostname}
            text = json.dumps({"lease": lease}).encode()
            return answers.read("commit", text, asks()).settings

        first = settings_of("a")
        assert settings_of("a") is first
        assert settings_of("b").hostname == "b"
        big = settings_of("c" * 200)
        for n in range(2 * answers.MOST_SETTINGS):
            settings_of(f"n{n}")
        assert settings_of("a") == first
        assert settings_of("c" * 200) == big
        assert len(answers._known) <= answers.MOST_SETTINGS

    def test_large_settings_are_not_remembered(self):
        """A thousand of them would be many megabytes."""
        answers = Answers()
        options = {"domain-name": "x" * 3000}
        text = json.dumps({"settings": {"options": options}}).encode()
        found = answers.read("configure", text, asks())
        assert found.options == {15: b"x" * 3000}
        assert answers.read("configure", text, asks()) == found
        assert not answers._known


# --- anything at all --------------------------------------------------------------

TEXT = st.text(max_size=3) | st.sampled_from(
    [
        *("", "a", " ", "x" * 63, "x" * 64, "x" * 255, "x" * 256, "ü" * 63, "ü" * 64),
        *("a\n", "\x7f", "\x85", "\u2028", "a\0", "x" * 127, "x" * 128, "\U0001f600"),
    ]
)
ADDRESSES = st.ip_addresses(v=4).map(str) | st.sampled_from(
    [
        *("192.0.2.10", "0.0.0.0", "0.0.0.1", "255.255.255.255", "224.0.0.1", "1.2.3"),
        *("01.2.3.4", "1.2.3.4\n", " 1.2.3.4", "223.255.255.255", "1.2.3.256", ""),
        *("1.2.3.4.5", "1.2.3.4.", "1.2.3.4/32", "::1", "٣.2.3.4"),
    ]
)
NUMBER = st.integers(-1, 2**32 + 1) | st.sampled_from(
    [0, 1, 60.0, 60.5, 1e300, 2**32 - 2, 2**32 - 1, 2**32, "infinite", "60", "never"]
)
OPTIONS = st.sampled_from(
    [
        *({}, [], "routers", {"routers": "192.0.2.1"}, {"3": ["192.0.2.1"]}),
        *({"interface-mtu": 1500}, {"all-subnets-local": True}, {"routers": None}),
        {"": "x"},
    ]
)
ANYTHING = st.none() | st.booleans() | st.integers() | st.just([]) | st.just({})
SETTINGS = {
    "options": OPTIONS,
    "next_server": ADDRESSES,
    "boot_file": TEXT,
    "server_name": TEXT,
    "hostname": TEXT,
    "class": TEXT,
    "renewal_time": NUMBER,
    "rebinding_time": NUMBER,
}


def members(**extra):
    """An object with some of these members, most of them right."""
    known = {**SETTINGS, **extra}
    return st.fixed_dictionaries(
        {}, optional={name: each | ANYTHING for name, each in known.items()}
    )


def lease_of(found):
    """A lease with what it needs."""
    return {**LEASE, **found}


DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "version": st.sampled_from([1, 1, 1, 1.0, 2, "1", True, None]),
        "lease": members(address=ADDRESSES, lease_time=NUMBER).map(lease_of) | ANYTHING,
        "refused": TEXT | ANYTHING,
        "silence": TEXT | ANYTHING,
        "done": st.booleans() | ANYTHING,
        "settings": members() | ANYTHING,
        "reservation": members(address=ADDRESSES) | ANYTHING,
        "unknown": ANYTHING,
    },
)


class TestAnything:
    """The schema and the reader agree, both ways."""

    @settings(deadline=None, max_examples=300)
    @given(st.sampled_from(VERBS), DOCUMENTS)
    def test_any_answer(self, verb, document):
        """What the schema takes, the reader takes; and nothing else."""
        self._both(verb, document)

    @settings(deadline=None, max_examples=300)
    @given(
        members(address=ADDRESSES, lease_time=NUMBER).map(lease_of),
        st.sampled_from(["lease", "reservation", "settings"]),
    )
    def test_any_object(self, value, name):
        """Nor is there a difference in what most answers are about."""
        verb = {"lease": "commit", "settings": "configure"}.get(name, name)
        self._both(verb, {name: value})

    @staticmethod
    def _both(verb, document):
        fits = ANSWER[verb].is_valid(document)
        wrong = ""
        try:
            read(verb, document)
        except BadAnswer as error:
            wrong = str(error)
        assert fits != bool(wrong), wrong or list(ANSWER[verb].iter_errors(document))
        assert wrong.isprintable()

    @settings(deadline=None)
    @given(st.binary(max_size=60), st.sampled_from(VERBS))
    def test_any_bytes(self, text, verb):
        """Nothing but `BadAnswer` comes of them."""
        with pytest.raises(BadAnswer):
            read(verb, text)

    @settings(deadline=None, max_examples=200)
    @given(
        st.sampled_from([option_kind(code).name for code in range(1, 255)]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | TEXT | ADDRESSES,
            lambda each: (
                st.lists(each, max_size=3) | st.dictionaries(TEXT, each, max_size=3)
            ),
            max_leaves=6,
        ),
    )
    def test_any_option(self, name, value):
        """Bytes, or `BadAnswer`."""
        try:
            found = read("configure", {"settings": {"options": {name: value}}})
        except BadAnswer:
            return
        assert all(isinstance(data, bytes) for data in found.options.values())

    def test_nan(self):
        """Python's JSON has it, and JSON has not."""
        with pytest.raises(BadAnswer, match="lease_time: NaN is no whole number"):
            read("offer", {"lease": {**LEASE, "lease_time": nan}})


# --- the page and its example -----------------------------------------------------


def shown():
    """The JSON that the page shows."""
    return [
        json.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    ]


def test_the_page_shows_what_the_schema_says():
    """Every document on it is a question or an answer, and the server takes it."""
    questions = [each for each in shown() if "verb" in each]
    answers = [each for each in shown() if "verb" not in each]
    for each in questions:
        QUESTION.validate(each)
    for each in answers:
        verbs = [verb for verb in VERBS if ANSWER[verb].is_valid(each)]
        assert verbs, each
        for verb in verbs:
            read(verb, each)
    assert len(questions) >= 2
    assert len(answers) >= 4


def test_the_page_shows_what_the_server_asks():
    """Its questions are those of the client that they show."""
    office = network(subnet(name="office"))
    laptop = FakeClient("00:11:22:33:44:55", options={12: b"laptop"})
    offer = laptop.client(
        office,
        giaddr="192.0.2.2",
        options={60: b"MSFT 5.0", 55: bytes([1, 3]), 82: b"\x01\x06eth1/7"},
    )
    commit = laptop.client(
        office, ClientState.SELECTING, "192.0.2.60", server="192.0.2.1"
    )
    questions = [each for each in shown() if "verb" in each]
    for client, page in zip((offer, commit), questions, strict=True):
        address = ip(page["address"]) if "address" in page else None
        found = question(page["verb"], client, page["when"], page["id"], address)
        assert json.loads(found) == page


class NoServer:
    """Stands in for the example's web server."""

    def __init__(self, *_):
        pass

    def serve_forever(self):
        """Nobody comes."""


class Straight:
    """Asks the example without a network between; all that is said is looked at.

    Args:
        decide: The example's function.
    """

    def __init__(self, decide):
        self._decide = decide
        self._answers = Answers()

    def ask(self, verb, client, when, address=None):
        """See `WebService.ask`; the answer is there at once."""
        asked = json.loads(question(verb, client, when, "1", address))
        QUESTION.validate(asked)
        answer = self._decide(**{"address": None} | asked | asked["client"])
        ANSWER[verb].validate(answer)
        return self._answers.read(verb, json.dumps(answer).encode(), client)


class TestExample(StorageContract):
    """The service of forty lines keeps the contract, but for what it does not do."""

    # It has no reservations.
    test_a_reserved_address_is_its_clients_alone = None
    test_a_reserved_address_outside_the_pools = None
    test_a_reservation_holds_for_any_identifier = None
    test_reserved_by_client_identifier = None
    test_reserved_for_a_relay_s_port = None
    test_settings_without_an_address = None
    # It gives everybody the same time.
    test_infinite_leases = None
    # It goes by the times that it is told, and there they go up and down.
    test_the_longest_unused_address_is_given_first = None

    @pytest.fixture(autouse=True)
    def _no_server(self, monkeypatch):
        monkeypatch.setattr(http.server, "ThreadingHTTPServer", NoServer)
        self.monkeypatch = monkeypatch

    def make(self, network: Network, reservations=()):
        """An empty file."""
        pool = [
            str(IPv4Address(number))
            for first, last in network.subnets[0].ranges
            for number in range(first, last + 1)
        ]
        self.monkeypatch.setattr(sys, "argv", ["", "0", ":memory:", *pool])
        names = runpy.run_path(str(SERVICE))
        rest = f"+ {network.subnets[0].decline_hold}"  # a day there, and less here
        names["VERBS"]["decline"] = names["VERBS"]["decline"].replace("+ 86400", rest)
        return HTTPStorage(Straight(names["decide"]))

    def test_the_longest_unused_address(self):
        """By the times at which they were given back."""
        net = network(subnet())
        storage = self.make(net)
        clients = self._clients(4)
        leases = [self._bind(storage, net, who, 100.0) for who in clients]
        order = [leases[n].address for n in (2, 0, 3, 1)]
        for when, n in enumerate((2, 0, 3, 1)):
            asks = clients[n].client(net, ClientState.BOUND)
            assert storage.release(asks, leases[n].address, 200.0 + when) is True
        new = [FakeClient(f"02:00:00:00:02:{n:02x}") for n in range(4)]
        given = [self._bind(storage, net, who, 300.0).address for who in new]
        assert given == order


def test_late_words_of_a_client(monkeypatch):
    """A release or decline that was long on its way undoes no later commit."""
    monkeypatch.setattr(http.server, "ThreadingHTTPServer", NoServer)
    monkeypatch.setattr(sys, "argv", ["", "0", ":memory:", "192.0.2.10"])
    storage = HTTPStorage(Straight(runpy.run_path(str(SERVICE))["decide"]))
    who = FakeClient()
    bound = who.client(NET, ClientState.BOUND)
    assert storage.commit(asks(who), ADDRESS, 100.0).address == ADDRESS
    for late in (storage.release, storage.decline):
        assert late(bound, ADDRESS, 99.0) is False
    assert isinstance(
        storage.commit(asks(FakeClient("02:00:00:00:00:02")), ADDRESS, 101.0), Refused
    )
    assert storage.release(bound, ADDRESS, 101.0) is True


def test_forty_lines():
    """Of code, behind the line that says what it is; the page promises it."""
    first, *lines = SERVICE.read_text("utf-8").splitlines()
    assert first.startswith('"""')
    assert first.endswith('"""')
    assert len([line for line in lines if line.strip()]) <= 40

"""Write docs/options.md from the code: python docs/make_options.py > docs/options.md."""

from dhcptwist.wire import OPTION_KINDS
from dhcptwist.wire.records import Record
from dhcptwist.wire.relay import RELAY_SUBOPTIONS


HEAD = """# Options

Every option of the registry as it stood in February 2026, made from the code by
`docs/make_options.py`. The name is what the ini file has after `option.`, and `dhcpctl` before the `=`. An
option without a name is written by its number, and its value is `hex:…`; so may any other's be.

How a value is written in text:

| Shape | Example |
|---|---|
| address, addresses | `192.0.2.1, 192.0.2.2` |
| address pairs | `192.0.2.0 198.51.100.1` |
| a number: u8, u16, u32, s32, u64 | `1500`, or `0x5dc` |
| a choice of … | its name or its number: `discover`, `1` |
| boolean | `true`, `false` |
| text | as it stands: `boot/pxelinux.0` |
| domain, domain names | `example.org, lab.example.org` |
| routes | `10.0.0.0/8 - 192.0.2.1, 0.0.0.0/0 - 192.0.2.254` |
| fields in a row | in their order: `true, 192.0.2.1`; one that holds commas itself in braces |
| sub-options | by name or number: `circuit-id=eth0; link-selection=192.0.2.0` |
| blocks by enterprise | `4491: {1=hex:02; 5=hex:ff}` |
| a list of things that hold commas | with semicolons between them |
| opaque | `hex:0102ff`, or `01:02:ff` |

"""


#: Bytes of options whose text needs to be seen.
EXAMPLES = {
    43: "010261620200",
    55: "0103e0",
    61: "01020000000001",
    63: "02000501010608c0000201c0000202",
    77: "027879037a7a7a",
    78: "01c0000201",
    79: "01612c62",
    81: "05000004686f7374076578616d706c6500",
    82: "01046574683002040a0b0c0d",
    83: "00010002000300000004c0000201c0000202",
    90: "0101000000000000000005000000070011",
    93: "00000007",
    94: "010310",
    97: "0000112233445566778899aabbccddeeff",
    99: "0244450002646503064265726c696e",
    117: "00060029",
    120: "000178017900017a00",
    122: "0104c00002010306000178017900070101",
    123: "484d0000004b660000001440000f0001",
    124: "000000090502616201ff",
    125: "00000de909040330303205027879",
    139: "0104c0000201",
    140: "02050178017900",
    143: "000968747470733a2f2f78",
    145: "0102",
    146: "01c0000201c000020200017800",
    151: "036261642c207665727921",
    158: "08c0000201c000020204c0000201",
    159: "06049000",
    162: "001f000105017801790008c0000201c00002020001000403646f74000300020355",
    175: "130101b1050180861000eb03010000",
    177: "0104c0000201",
    212: "082020010db8000000000000000000000000c0000201",
    220: "0001020218020a01c00002011c010200010302787904040000003c",
    221: "0100112233445566",
}


def example(kind):
    if kind.code not in EXAMPLES:
        return ""
    return f"`{kind.shape.decode_text(bytes.fromhex(EXAMPLES[kind.code]))}`"


def fields(shape):
    shape = getattr(shape, "inner", shape)
    if isinstance(shape, Record):
        return f"{shape.name}: {', '.join(shape.fields).replace('_', ' ')}"
    return shape.name


def page():
    rows = ["| | Option | Shape | For example | Defined by |", "|--:|---|---|---|---|"]
    rows += (
        f"| {kind.code} | {kind.name} | {fields(kind.shape)} | {example(kind)} | {kind.source} |"
        for kind in sorted(OPTION_KINDS.values(), key=lambda kind: kind.code)
    )
    subs = ["| | Sub-option of 82 | Shape |", "|--:|---|---|"]
    subs += (
        f"| {sub.code} | {sub.name} | {fields(sub.shape)} |" for sub in RELAY_SUBOPTIONS
    )
    return (
        f"{HEAD}## By number\n\n"
        + "\n".join(rows)
        + "\n\n## Option 82\n\n"
        + "\n".join(subs)
    )


if __name__ == "__main__":
    print(page())

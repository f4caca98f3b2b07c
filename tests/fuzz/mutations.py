"""Files made wrong: the mutation with a given number is always the same one.

Each takes a sound file apart in the way that its format is written, or as disks, networks and hands
do.
"""

import io
import random
import struct
import zipfile
from collections.abc import Callable, Sequence

Mutation = Callable[[bytes, random.Random], bytes]
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
NUMBERS = (
    "nan",
    "inf",
    "-1",
    "-0",
    "1e999",
    "1e-999",
    "9" * 400,
    "0x10",
    "1_000",
    "",
    " ",
    "\t",
    "٣",
    "1.2.3",
    "2147483648",
)
MARKS = (
    '"',
    '""',
    '"' * 999,
    "\t",
    ",",
    "<exists>",
    "<absent>",
    "\0",
    "\x1b[2J",
    "\u2028",
    "\x85",
    "-" * 999,
)
MEMBERS = ("betas", "poses", "expressions", "trans", "model", "gender", "mocap_frame_rate")
DTYPES = (
    "<f4",
    ">f4",
    "<f8",
    "|O",
    "<U9",
    "<i8",
    "<c16",
    "|V4",
    "<f2",
    "<M8[D]",
    "f4,f4",
    "|b1",
    "<f16",
    "|S0",
    "<U0",
)
SHAPES = (
    "()",
    "(0,)",
    "(-1, 165)",
    "(165,)",
    "(1, 165)",
    "(99999999999, 165)",
    "(2, 3, 165)",
    "(1.5, 165)",
    "(True, 165)",
    "[1, 165]",
    "(1, 1" + "0" * 40 + ")",
    "(" * 200,
    "None",
    "(1, 165) if 1 else 2",
    "{}",
    "(0, 1" + "0" * 20 + ")",
)


def flip_bits(data: bytes, luck: random.Random) -> bytes:
    """A few bits, anywhere or in what is read first."""
    out = bytearray(data)
    reach = luck.choice((len(out), min(len(out), 128)))
    for _ in range(luck.choice((1, 1, 2, 8, 64))):
        out[luck.randrange(reach)] ^= 1 << luck.randrange(8)
    return bytes(out)


def truncate(data: bytes, luck: random.Random) -> bytes:
    return data[: luck.randrange(len(data))]


def lose_beginning(data: bytes, luck: random.Random) -> bytes:
    return data[luck.randrange(len(data)) :]


def lose_piece(data: bytes, luck: random.Random) -> bytes:
    first, last = sorted(luck.randrange(len(data) + 1) for _ in range(2))
    return data[:first] + data[last:]


def repeat_piece(data: bytes, luck: random.Random) -> bytes:
    first, last = sorted(luck.randrange(len(data) + 1) for _ in range(2))
    return data[:last] + data[first:last] * luck.choice((1, 2, 5)) + data[last:]


def zero_piece(data: bytes, luck: random.Random) -> bytes:
    """As a disk block that was never written."""
    first, last = sorted(luck.randrange(len(data) + 1) for _ in range(2))
    return data[:first] + bytes(last - first) + data[last:]


def insert_noise(data: bytes, luck: random.Random) -> bytes:
    place = luck.randrange(len(data) + 1)
    return data[:place] + luck.randbytes(luck.choice((1, 4, 64, 2000))) + data[place:]


def extreme_field(data: bytes, luck: random.Random) -> bytes:
    """A number of two, four or eight bytes that no honest file holds, mostly near the beginning or
    the end.
    """
    code = luck.choice(("<H", "<I", ">I", "<Q"))
    value = luck.choice(EXTREMES) & (2 ** (8 * struct.calcsize(code)) - 1)
    near = luck.choice((64, 64, 256, len(data)))
    place = luck.randrange(min(near, len(data)))
    place = place if luck.random() < 0.7 else max(0, len(data) - 1 - place)
    return data[:place] + struct.pack(code, value) + data[place + struct.calcsize(code) :]


def array_header(data: bytes, luck: random.Random) -> bytes:
    """Another dtype, shape, order or version in one array's header; checksums are right."""

    def change(content: bytes) -> bytes:
        header = (
            f"{{'descr': {luck.choice(DTYPES)!r}, 'fortran_order': {luck.choice(('False', 'True', '7'))}, "
            f"'shape': {luck.choice(SHAPES)}, }}"
        )
        text = luck.choice((header, header, header[:-3], header * 2, "x" * 70_000)).encode() + b"\n"
        version = luck.choice((b"\1\0", b"\1\0", b"\2\0", b"\3\0", b"\xff\xff"))
        size = (
            struct.pack("<H", len(text) & 0xFFFF)
            if version == b"\1\0"
            else struct.pack("<I", len(text))
        )
        return b"\x93NUMPY" + version + size + text + content[128:]

    return _rewritten(data, luck, change)


def array_content(data: bytes, luck: random.Random) -> bytes:
    """Anything done to one array inside the archive; checksums are right."""
    return _rewritten(
        data, luck, lambda content: luck.choice(BYTES)(content, luck) if content else b""
    )


def archive_structure(data: bytes, luck: random.Random) -> bytes:
    """Members renamed, lost, twice there, packed in another way, or a comment that looks like
    another archive.
    """
    members = _members(data)
    if not members:
        return data
    kind, chosen = luck.randrange(5), luck.choice(sorted(members))
    names = {
        name: luck.choice(("../" + name, "/" + name, name + "\0", name.upper(), "\x1b[2J", ""))
        if kind == 0 and name == chosen
        else name
        for name in members
        if not (kind == 1 and name == chosen)
    }
    packing = luck.choice(
        (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    )
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", packing) as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(names[name]), members[name], packing)
        if kind == 2:
            archive.comment = data[-200:]
    out = file.getvalue()
    return out + out if kind == 3 else out


def other_encoding(data: bytes, luck: random.Random) -> bytes:
    text = data.decode("utf-8", "replace")
    return luck.choice(("", "\ufeff")).encode("utf-16") + text.encode(
        luck.choice(("utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp037", "utf-7")), "replace"
    )


def lines_moved(data: bytes, luck: random.Random) -> bytes:
    """Lines lost, doubled or swapped."""
    lines = data.split(b"\n")
    for _ in range(luck.choice((1, 1, 3))):
        one, two = luck.randrange(len(lines)), luck.randrange(len(lines))
        lines[one : one + 1] = luck.choice(([], [lines[one], lines[two]], [lines[two]])) or [b""]
    return luck.choice((b"\n", b"\r\n", b"\r", b"\n\n")).join(lines)


def odd_number(data: bytes, luck: random.Random) -> bytes:
    """A word or number of the text replaced by a number that is none, or is none of its place."""
    words = data.split(b" ")
    place = luck.randrange(len(words))
    tail = b"\n" + words[place].partition(b"\n")[2] if b"\n" in words[place] else b""
    words[place] = luck.choice(NUMBERS).encode() + tail
    return b" ".join(words)


def odd_mark(data: bytes, luck: random.Random) -> bytes:
    """Quotes, tabs, flags and line ends of other tongues where none were."""
    place = luck.randrange(len(data) + 1)
    return data[:place] + luck.choice(MARKS).encode() + data[place:]


BYTES: Sequence[Mutation] = (
    flip_bits,
    truncate,
    lose_beginning,
    lose_piece,
    repeat_piece,
    zero_piece,
    insert_noise,
    extreme_field,
)
MUTATIONS: dict[str, Sequence[Mutation]] = {
    "motion": (*BYTES, extreme_field, array_header, array_header, array_content, archive_structure),
    "wave": (*BYTES, extreme_field, extreme_field),
    "textgrid": (*BYTES, other_encoding, lines_moved, odd_number, odd_mark),
    "semantics": (*BYTES, other_encoding, lines_moved, odd_number, odd_mark),
    "split": (*BYTES, other_encoding, lines_moved, odd_number, odd_mark),
}
"""What is done to each kind of file."""


def mutated(kind: str, seeds: Sequence[bytes], number: int) -> bytes:
    """The mutation of a number: of one of the seeds, once or a few times over, or of two spliced
    together.
    """
    luck = random.Random(f"{kind} {number}")
    data = luck.choice(seeds)
    if luck.random() < 0.1:
        other = luck.choice(seeds)
        data = data[: luck.randrange(len(data))] + other[luck.randrange(len(other)) :]
    for _ in range(luck.choice((1, 1, 1, 2, 4))):
        if data:
            data = luck.choice(MUTATIONS[kind])(data, luck)
    return data


def _members(data: bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    except Exception:
        return {}


def _rewritten(data: bytes, luck: random.Random, change: Callable[[bytes], bytes]) -> bytes:
    members = _members(data)
    chosen = f"{luck.choice(MEMBERS)}.npy"
    if chosen not in members:
        return data
    file = io.BytesIO()
    with zipfile.ZipFile(
        file, "w", luck.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    ) as archive:
        for name, content in members.items():
            archive.writestr(
                zipfile.ZipInfo(name),
                change(content) if name == chosen else content,
                archive.compression,
            )
    return file.getvalue()

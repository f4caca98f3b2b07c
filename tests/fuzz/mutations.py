"""Mutations of files; a number always gives the same mutation.

Each mutation damages a valid file like its format allows, or like disks, networks and editors do.
"""

import hashlib
import io
import json
import pickletools
import random
import struct
import zipfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

Mutation = Callable[[bytes, random.Random], bytes]
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
NUMBERS = (
    "nan",
    "inf",
    "-1",
    "-0",
    "1e999",
    "1e300",
    "-1e18",
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


def flip_bits(data: bytes, rng: random.Random) -> bytes:
    """Flip a few bits, anywhere or in the first bytes."""
    if not data:
        return data
    out = bytearray(data)
    reach = rng.choice((len(out), min(len(out), 128)))
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        out[rng.randrange(reach)] ^= 1 << rng.randrange(8)
    return bytes(out)


def truncate(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def lose_beginning(data: bytes, rng: random.Random) -> bytes:
    return data[rng.randrange(len(data)) :]


def lose_piece(data: bytes, rng: random.Random) -> bytes:
    first, last = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:first] + data[last:]


def repeat_piece(data: bytes, rng: random.Random) -> bytes:
    first, last = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:last] + data[first:last] * rng.choice((1, 2, 5)) + data[last:]


def zero_piece(data: bytes, rng: random.Random) -> bytes:
    """Zero a part, like a disk block that was never written."""
    first, last = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:first] + bytes(last - first) + data[last:]


def insert_noise(data: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(data) + 1)
    return data[:place] + rng.randbytes(rng.choice((1, 4, 64, 2000))) + data[place:]


def extreme_field(data: bytes, rng: random.Random) -> bytes:
    """A number of two, four or eight bytes that no valid file has, mostly near the beginning or
    the end.
    """
    code = rng.choice(("<H", "<I", ">I", "<Q"))
    value = rng.choice(EXTREMES) & (2 ** (8 * struct.calcsize(code)) - 1)
    near = rng.choice((64, 64, 256, len(data)))
    place = rng.randrange(min(near, len(data)))
    place = place if rng.random() < 0.7 else max(0, len(data) - 1 - place)
    return data[:place] + struct.pack(code, value) + data[place + struct.calcsize(code) :]


def array_header(data: bytes, rng: random.Random) -> bytes:
    """Change dtype, shape, order or version in the header of an array; checksums stay valid."""

    def change(content: bytes) -> bytes:
        dtype = rng.choice(DTYPES)
        order = rng.choice(("False", "True", "7"))
        shape = rng.choice(SHAPES)
        header = f"{{'descr': {dtype!r}, 'fortran_order': {order}, 'shape': {shape}, }}"
        text = rng.choice((header, header, header[:-3], header * 2, "x" * 70_000)).encode() + b"\n"
        version = rng.choice((b"\1\0", b"\1\0", b"\2\0", b"\3\0", b"\xff\xff"))
        size = (
            struct.pack("<H", len(text) & 0xFFFF)
            if version == b"\1\0"
            else struct.pack("<I", len(text))
        )
        return b"\x93NUMPY" + version + size + text + content[128:]

    return _rewritten(data, rng, change)


def array_content(data: bytes, rng: random.Random) -> bytes:
    """Mutate the bytes of an array in the archive; checksums stay valid."""
    return _rewritten(
        data, rng, lambda content: rng.choice(BYTES)(content, rng) if content else b""
    )


def archive_structure(data: bytes, rng: random.Random) -> bytes:
    """Rename, remove, duplicate or repack members, or add a comment that resembles an archive."""
    members = members_of(data)
    if not members:
        return data
    kind = rng.randrange(5)
    chosen = rng.choice(sorted(members))
    names = {
        name: rng.choice(("../" + name, "/" + name, name + "\0", name.upper(), "\x1b[2J", ""))
        if kind == 0 and name == chosen
        else name
        for name in members
        if not (kind == 1 and name == chosen)
    }
    packing = rng.choice(
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


def other_encoding(data: bytes, rng: random.Random) -> bytes:
    text = data.decode("utf-8", "replace")
    return rng.choice(("", "\ufeff")).encode("utf-16") + text.encode(
        rng.choice(("utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp037", "utf-7")), "replace"
    )


def lines_moved(data: bytes, rng: random.Random) -> bytes:
    """Delete, duplicate or swap lines."""
    lines = data.split(b"\n")
    for _ in range(rng.choice((1, 1, 3))):
        one, two = rng.randrange(len(lines)), rng.randrange(len(lines))
        lines[one : one + 1] = rng.choice(([], [lines[one], lines[two]], [lines[two]])) or [b""]
    return rng.choice((b"\n", b"\r\n", b"\r", b"\n\n")).join(lines)


def odd_number(data: bytes, rng: random.Random) -> bytes:
    """Replace a word or number by an invalid or unexpected number."""
    words = data.split(b" ")
    place = rng.randrange(len(words))
    tail = b"\n" + words[place].partition(b"\n")[2] if b"\n" in words[place] else b""
    words[place] = rng.choice(NUMBERS).encode() + tail
    return b" ".join(words)


def odd_mark(data: bytes, rng: random.Random) -> bytes:
    """Insert quotes, tabs, flags and line ends of other systems."""
    place = rng.randrange(len(data) + 1)
    return data[:place] + rng.choice(MARKS).encode() + data[place:]


VALUES = (
    None,
    True,
    -1,
    0,
    10**30,
    1e308,
    "",
    "x",
    "\x1b[2J",
    "../up",
    [],
    {},
    [[]],
    [1, "x"],
    {"a": 1},
    "corrected",
    "VQVAE",
    [-1, -1],
    [10**12, 10**12],
    [0, 2**63],
    "F64",
    "I64",
)


def json_value(data: bytes, rng: random.Random) -> bytes:
    """Replace, remove, rename or add a value anywhere in a JSON document."""
    try:
        document = json.loads(data)
    except ValueError:
        return flip_bits(data, rng)
    holders = [
        (value, key)
        for value in _nodes(document)
        for key in (value if isinstance(value, dict) else range(len(value)))
    ]
    if not holders:
        return json.dumps(rng.choice(VALUES)).encode()
    holder, key = rng.choice(holders)
    kind = rng.randrange(5)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        holder[rng.choice(("", "x", "files", "../up", str(key).upper()))] = holder.pop(key)
    elif kind == 2 and isinstance(holder[key], int | float):
        holder[key] = rng.choice((-holder[key], holder[key] + 1, 2 * holder[key], 10**9, 0.5))
    else:
        holder[key] = rng.choice(VALUES)
    return json.dumps(document).encode()


def _nodes(value: object) -> Iterator[Any]:
    """Yield every list and dictionary of a JSON document, and of the first values of a list."""
    if isinstance(value, dict | list):
        yield value
        inner = list(value.values()) if isinstance(value, dict) else value[:4]
        for one in inner:
            yield from _nodes(one)


def tensor_header(data: bytes, rng: random.Random) -> bytes:
    """Change names, dtypes, shapes or offsets in the header of a safetensors file."""
    size = int.from_bytes(data[:8], "little")
    header = rng.choice((json_value, json_value, json_value, flip_bits))(data[8 : 8 + size], rng)
    stated = rng.choice((len(header), len(header), len(header), size, 2**40, 0))
    return struct.pack("<Q", stated) + header + data[8 + size :]


def tensor_values(data: bytes, rng: random.Random) -> bytes:
    """Change the numbers of a safetensors file: NaN, infinity, huge or flipped."""
    size = 8 + int.from_bytes(data[:8], "little")
    place = size + 4 * rng.randrange(max(1, (len(data) - size) // 4))
    value = struct.pack("<f", rng.choice((float("nan"), float("inf"), 3e38, -0.0, 1e-45)))
    return data[:place] + value * rng.choice((1, 1, 50)) + data[place + 4 :]


def pickle_opcodes(data: bytes, rng: random.Random) -> bytes:
    """Change, remove, repeat or swap opcodes of a pickle."""
    try:
        places = [place for _, _, place in pickletools.genops(data) if place is not None]
    except Exception:
        return flip_bits(data, rng)
    pieces = [data[a:b] for a, b in zip(places, [*places[1:], len(data)], strict=True)]
    one, two = rng.randrange(len(pieces)), rng.randrange(len(pieces))
    kind = rng.randrange(4)
    if kind == 0:
        del pieces[one]
    elif kind == 1:
        pieces.insert(one, pieces[two])
    elif kind == 2:
        pieces[one], pieces[two] = pieces[two], pieces[one]
    else:
        pieces[one] = flip_bits(pieces[one], rng)
    return b"".join(pieces)


def checkpoint_member(data: bytes, rng: random.Random) -> bytes:
    """Change a member of a checkpoint, mostly its pickle; checksums of the archive stay valid."""
    members = members_of(data)
    if not members:
        return flip_bits(data, rng)
    pickles = [name for name in members if name.endswith("data.pkl")]
    name = rng.choice(pickles if pickles and rng.random() < 0.8 else sorted(members))
    change = pickle_opcodes if name in pickles else rng.choice(BYTES)
    if members[name]:
        members[name] = change(members[name], rng)
    return pack(members)


def folder_member(data: bytes, rng: random.Random) -> bytes:
    """Change one file of a folder as its format allows; a bundle is mostly signed again."""
    members = members_of(data)
    if not members:
        return data
    name = rng.choice(sorted(members))
    if rng.random() < 0.03:
        del members[name]
    elif members[name]:
        members[name] = rng.choice(_member_mutations(name))(members[name], rng)
    if "bundle.json" in members and rng.random() < 0.9:
        members["bundle.json"] = _signed(members)
    return pack(members)


def _member_mutations(name: str) -> Sequence[Mutation]:
    if name.endswith(".json"):
        return (json_value, json_value, json_value, flip_bits, truncate)
    if name.endswith(".safetensors"):
        return (tensor_header, tensor_header, tensor_values, flip_bits, truncate)
    return MUTATIONS[name]


def _signed(members: dict[str, bytes]) -> bytes:
    """Return the description of a bundle with the digests of its present files and of itself."""
    try:
        description = json.loads(members["bundle.json"])
        if isinstance(description.get("files"), dict):
            description["files"] = {
                name: hashlib.sha256(content).hexdigest()
                for name, content in members.items()
                if name != "bundle.json"
            }
        description.pop("digest", None)
        text = json.dumps(description, sort_keys=True, separators=(",", ":"))
        description["digest"] = hashlib.sha256(text.encode()).hexdigest()
        return json.dumps(description).encode()
    except (ValueError, AttributeError):
        return members["bundle.json"]


def pack(members: dict[str, bytes]) -> bytes:
    """Pack files into one, as torch packs a checkpoint."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return file.getvalue()


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
    "decisions": (*BYTES, other_encoding, lines_moved, odd_number, odd_mark),
    "clip": (folder_member,),
    "network": (folder_member,),
    "bundle": (folder_member,),
    "published": (flip_bits, truncate, zero_piece, checkpoint_member, checkpoint_member),
    "vocabulary": (*BYTES, pickle_opcodes, pickle_opcodes, pickle_opcodes),
}
"""Mutations of each kind of file."""


def mutated(kind: str, seeds: Sequence[bytes], number: int) -> bytes:
    """The mutation of a number: of one of the seeds, once or a few times over, or of two spliced
    together.
    """
    rng = random.Random(f"{kind} {number}")
    data = rng.choice(seeds)
    if rng.random() < 0.1 and folder_member not in MUTATIONS[kind]:
        other = rng.choice(seeds)
        data = data[: rng.randrange(len(data))] + other[rng.randrange(len(other)) :]
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        if data:
            data = rng.choice(MUTATIONS[kind])(data, rng)
    return data


def members_of(data: bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    except Exception:
        return {}


def _rewritten(data: bytes, rng: random.Random, change: Callable[[bytes], bytes]) -> bytes:
    members = members_of(data)
    chosen = f"{rng.choice(MEMBERS)}.npy"
    if chosen not in members:
        return data
    file = io.BytesIO()
    with zipfile.ZipFile(
        file, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    ) as archive:
        for name, content in members.items():
            archive.writestr(
                zipfile.ZipInfo(name),
                change(content) if name == chosen else content,
                archive.compression,
            )
    return file.getvalue()

"""Damage to a file, by a seeded generator: what a disk, a transfer or a hostile hand does to bytes and to JSON."""

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Random = np.random.Generator
LONGEST = 64  # bytes of a range that is deleted, inserted or overwritten


def span(content: bytes, random: Random) -> tuple[int, int]:
    """Begin and end of a short range."""
    begin = int(random.integers(len(content)))
    return begin, min(len(content), begin + int(random.integers(1, LONGEST)))


def flipped(content: bytes, random: Random) -> bytes:
    """One to eight flipped bits."""
    found = bytearray(content)
    for place in random.integers(len(content), size=random.integers(1, 9)):
        found[place] ^= 1 << int(random.integers(8))
    return bytes(found)


def truncated(content: bytes, random: Random) -> bytes:
    return content[: random.integers(len(content))]


def deleted(content: bytes, random: Random) -> bytes:
    begin, end = span(content, random)
    return content[:begin] + content[end:]


def inserted(content: bytes, random: Random) -> bytes:
    begin, end = span(content, random)
    return content[:begin] + random.bytes(end - begin) + content[begin:]


def repeated(content: bytes, random: Random) -> bytes:
    begin, end = span(content, random)
    return content[:end] + content[begin:end] + content[end:]


def overwritten(content: bytes, random: Random) -> bytes:
    """A range of one byte: zeros as a lost block has them, 255, or a space."""
    begin, end = span(content, random)
    return content[:begin] + bytes([random.choice([0, 255, 32])]) * (end - begin) + content[end:]


def early(content: bytes, random: Random) -> bytes:
    """Flipped bits in the first bytes, where a format keeps its magic number and lengths."""
    return flipped(content[:LONGEST], random) + content[LONGEST:]


OF_BYTES: tuple[Callable[[bytes, Random], bytes], ...] = (
    flipped, truncated, deleted, inserted, repeated, overwritten, early,
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 2**31, 2**63, 10**400, 0.5, -1e308, float("nan"), float("inf"), "", "x", "../x", "/etc",
    "${oc.env:HOME}", "\x1b[2J\n", "9" * 5000, [], {}, [[]], [None], {"name": "x"}, {"_target_": "os.system"},
    [0.0] * 10_000, json.loads("[" * 200 + "]" * 200),
)  # fmt: skip


def places(content: Any) -> Iterator[tuple[Any, Any]]:
    """Each mapping or list in plain data with each of its keys."""
    for key in content if isinstance(content, dict) else range(len(content)) if isinstance(content, list) else ():
        yield content, key
        yield from places(content[key])


def of_json(content: Any, random: Random) -> Any:
    """Plain data with one value replaced, by a hostile one or by another of its own, or one key removed or renamed."""
    content = copy.deepcopy(content)
    found = list(places(content))
    holder, key = found[random.integers(len(found))]
    kind = random.integers(4)
    if kind == 0:
        other, place = found[random.integers(len(found))]
        holder[key] = copy.deepcopy(other[place])
    elif kind == 1:
        del holder[key]
    elif kind == 2 and isinstance(holder, dict):
        holder[f"{key}x"] = holder.pop(key)
    else:
        holder[key] = VALUES[random.integers(len(VALUES))]
    return content


def of_bytes(content: bytes, random: Random) -> bytes:
    """Bytes with one kind of damage."""
    return OF_BYTES[random.integers(len(OF_BYTES))](content, random)

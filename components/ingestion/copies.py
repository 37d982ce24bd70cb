"""Copies of images, found in Beam without comparing all pairs.

Equal pixels are found by their digest, near copies by the bands of a perceptual hash. What
goes through the shuffles is packed: 232 bytes an image, in batches, and no names. What
leaves Beam grows with the number of copies, not with the number of images.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import apache_beam as beam
import numpy as np

from components.ingestion import perceptual_hash
from components.ingestion.duplicates import Copies, Kind, Member
from components.ingestion.linking import linked

DIGEST_BYTES = 32
BUCKETS = 31  # a kind of key is spread over so many; a prime, so that every bit counts
_ROW_BITS = 32
_EXACT_KEY = perceptual_hash.BANDS  # after the bands


class Batch(NamedTuple):
    """What is compared of consecutive images of one shard.

    Attributes:
        shard: the shard that they are in.
        first: the row of the first of them.
        digests: SHA-256 of the pixels, 32 bytes an image.
        hashes: `perceptual_hash`, 16 bytes an image.
    """

    shard: int
    first: int
    digests: bytes
    hashes: bytes

    @property
    def images(self) -> int:
        return len(self.digests) // DIGEST_BYTES


class Found(NamedTuple):
    """Copies by their places. Near copies of different buckets may overlap."""

    kind: Kind
    places: tuple[int, ...]


def place(shard: int, row: int) -> int:
    """Returns one number for row `row` of shard `shard`."""
    return shard << _ROW_BITS | row


def shard_and_row(at: int) -> tuple[int, int]:
    """The inverse of `place`."""
    return at >> _ROW_BITS, at & ((1 << _ROW_BITS) - 1)


class FindCopies(beam.PTransform):
    """From `Batch`es to `Found`."""

    def __init__(self, near_duplicate_bits: int) -> None:
        super().__init__()
        self._bits = near_duplicate_bits

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        return (
            batches
            | "KeyByBucket" >> beam.FlatMap(_by_bucket)
            | "GroupByBucket" >> beam.GroupByKey()
            | "Compare" >> beam.FlatMap(_compare, self._bits)
        )


def find_copies(batch: Batch, near_duplicate_bits: int) -> Iterator[Found]:
    """Yields what `FindCopies` finds in one batch, without Beam."""
    buckets: defaultdict[bytes, list[bytes]] = defaultdict(list)
    for key, rows in _by_bucket(batch):
        buckets[key].append(rows)
    for bucket in buckets.items():
        yield from _compare(bucket, near_duplicate_bits)


def _by_bucket(batch: Batch) -> Iterator[tuple[bytes, bytes]]:
    """Yields the rows (digest or hash, then place) of each bucket that the batch has a part in."""
    digests = np.frombuffer(batch.digests, np.uint8).reshape(-1, DIGEST_BYTES)
    hashes = np.frombuffer(batch.hashes, np.uint8).reshape(-1, perceptual_hash.BYTES)
    start = place(batch.shard, batch.first)
    places = np.arange(start, start + len(digests), dtype=np.uint64)
    places = places[:, None].view(np.uint8)
    bands = perceptual_hash.bands(hashes)
    keys = [(band, hashes, bands[:, band]) for band in range(perceptual_hash.BANDS)]
    keys.append((_EXACT_KEY, digests, digests[:, 0]))
    for key, content, values in keys:
        rows = np.hstack([content, places])
        buckets = values % BUCKETS
        for bucket in np.unique(buckets):
            yield bytes([key, bucket]), rows[buckets == bucket].tobytes()


def _compare(bucket: tuple[bytes, Iterable[bytes]], bits: int) -> Iterator[Found]:
    """Yields the copies in one bucket."""
    (key, _), rows = bucket
    width = DIGEST_BYTES if key == _EXACT_KEY else perceptual_hash.BYTES
    table = np.frombuffer(b"".join(rows), np.uint8).reshape(-1, width + 8)
    places = np.ascontiguousarray(table[:, width:]).view(np.uint64)[:, 0]
    content, number = np.unique(table[:, :width], axis=0, return_inverse=True)
    number = number.reshape(-1)
    if key == _EXACT_KEY:
        yield from _groups(Kind.EXACT, places, number)
        return
    group = perceptual_hash.near_groups(content, key, bits)
    yield from _groups(Kind.NEAR, places, group[number])


def _groups(kind: Kind, places: np.ndarray, number: np.ndarray) -> Iterator[Found]:
    """Yields the places that have their `number` in common with others."""
    order = np.lexsort((places, number))
    starts = np.flatnonzero(np.diff(number[order], prepend=-1))
    for members in np.split(places[order], starts[1:]):
        if len(members) > 1:
            yield Found(kind, tuple(members.tolist()))


def name_copies(found: Iterable[Found], members: Mapping[int, Member]) -> list[Copies]:
    """Returns `found` with names in place of places, and overlapping near groups united.

    Args:
        found: from `FindCopies`.
        members: who is at each place in `found`.

    Returns:
        the groups in order; of equal pixels, a near group has the first name only.
    """
    exact: list[list[Member]] = []
    near: list[tuple[int, ...]] = []
    for kind, places in found:
        if kind == Kind.EXACT:
            exact.append(sorted(members[at] for at in places))
        else:
            near.append(places)
    first = {member: group[0] for group in exact for member in group}
    distinct = ([first.get(members[at], members[at]) for at in places] for places in near)
    return sorted(
        [Copies(Kind.EXACT, tuple(group)) for group in exact]
        + [Copies(Kind.NEAR, tuple(group)) for group in linked(distinct) if len(group) > 1]
    )

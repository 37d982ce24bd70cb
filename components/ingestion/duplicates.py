"""Copies of images: found in Beam without comparing all pairs, then resolved.

Equal pixels are found by their digest, near copies by the bands of a perceptual hash. What
leaves Beam grows with the number of copies, not with the number of images.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import apache_beam as beam
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from components.ingestion import perceptual_hash
from components.ingestion.refusals import Reason, Refusal
from components.ingestion.splits import assign
from models.features import CLASSES

EXACT = "exact"
NEAR = "near"


class Fact(NamedTuple):
    """What is compared of one image; `key` decides its split (`splits.split_key`)."""

    name: str
    key: str
    label: int
    digest: str
    hash: bytes


class Member(NamedTuple):
    """One image of a group of copies."""

    name: str
    key: str
    label: int


class Copies(NamedTuple):
    """A group of copies, `kind` is `EXACT` or `NEAR`; members are sorted by name."""

    kind: str
    members: tuple[Member, ...]


class FindCopies(beam.PTransform):
    """From `Fact`s to groups of `Copies`. Near groups of different bands may overlap.

    An image goes into eight buckets, so what goes there is a bare 48 bytes; names join
    again where copies were found.
    """

    def __init__(self, near_duplicate_bits: int) -> None:
        super().__init__()
        self._bits = near_duplicate_bits

    def expand(self, facts: beam.PCollection) -> beam.PCollection:
        near = (
            facts
            | "KeyByBand" >> beam.FlatMap(_by_band)
            | "GroupByBand" >> beam.GroupByKey()
            | "NearDigests" >> beam.FlatMap(_near, self._bits)
            | "OncePerGroup" >> beam.Distinct()
            | "KeyGroupByDigest" >> beam.FlatMap(_by_digest)
        )
        by_digest = facts | "KeyByDigest" >> beam.Map(
            lambda fact: (bytes.fromhex(fact.digest), (fact.name, fact.key, fact.label))
        )
        found = (
            {MEMBERS: by_digest, GROUPS: near}
            | "JoinByDigest" >> beam.CoGroupByKey()
            | "ExactCopies" >> beam.FlatMap(_exact).with_outputs(NEAR)
        )
        near_copies = (
            found[NEAR]
            | "GroupNear" >> beam.GroupByKey()
            | "NearCopies" >> beam.Map(lambda group: _copies(NEAR, group[1]))
        )
        return (found[None], near_copies) | beam.Flatten()


MEMBERS = "members"
GROUPS = "groups"
_Member = tuple[str, str, int]


def _by_band(fact: Fact) -> Iterator[tuple[bytes, bytes]]:
    for band in perceptual_hash.bands(fact.hash):
        yield band, fact.hash + bytes.fromhex(fact.digest)


def _near(bucket: tuple[bytes, Iterable[bytes]], bits: int) -> Iterator[tuple[bytes, ...]]:
    """Yields the digests of each group of near images; equal pixels count once."""
    width = perceptual_hash.BITS // 8
    images = sorted(set(bucket[1]))
    for indices in perceptual_hash.group([image[:width] for image in images], bits):
        yield tuple(sorted(images[index][width:] for index in indices))


def _by_digest(group: tuple[bytes, ...]) -> Iterator[tuple[bytes, bytes]]:
    identity = b"".join(group)
    for digest in group:
        yield digest, identity


def _exact(joined: tuple[bytes, dict[str, Iterable[Any]]]) -> Iterator[Any]:
    """Yields the exact copies of a digest; and its first image for each near group it is in."""
    members = sorted(joined[1][MEMBERS])
    if len(members) > 1:
        yield _copies(EXACT, members)
    for group in joined[1][GROUPS]:
        yield beam.pvalue.TaggedOutput(NEAR, (group, members[0]))


def _copies(kind: str, members: Iterable[_Member]) -> Copies:
    return Copies(kind, tuple(Member(*member) for member in sorted(members)))


@dataclass
class Resolution:
    """What to do about copies.

    Attributes:
        refused: images that are left out: further exact copies, and equal pixels under
            different labels.
        same_split: split keys that must follow another key, so that copies stay together.
        summary: counts and examples for the report, JSON-compatible.
    """

    refused: list[Refusal] = field(default_factory=list)
    same_split: dict[str, str] = field(default_factory=dict)
    summary: dict[str, object] = field(default_factory=dict)


EXAMPLES = 100  # groups of each kind in the summary


def resolve(
    groups: Iterable[Copies], shares: Mapping[str, float], salt: str, deduplicate: bool
) -> Resolution:
    """Decides what happens to `groups`.

    Args:
        groups: from `FindCopies`.
        shares, salt: of the split.
        deduplicate: False reports and changes nothing.
    """
    ordered = sorted(groups)
    exact = [group for group in ordered if group.kind == EXACT]
    near = [group for group in ordered if group.kind == NEAR]

    def split(member: Member) -> str:
        return assign(member.key, shares, salt)

    leaks = [group for group in ordered if len({split(member) for member in group.members}) > 1]
    result = Resolution()
    result.summary = {
        "resolved": deduplicate,
        "exact_groups": len(exact),
        "near_groups": len(near),
        "conflicting_groups": sum(_conflicting(group) for group in exact),
        "near_groups_with_different_labels": sum(_conflicting(group) for group in near),
        "groups_across_splits": len(leaks),
        "examples": [_describe(group) for group in [*exact[:EXAMPLES], *near[:EXAMPLES]]],
    }
    if deduplicate:
        for group in exact:
            result.refused += _refuse_copies(group)
        result.same_split = _unite(ordered)
    return result


def _conflicting(group: Copies) -> bool:
    return len({member.label for member in group.members}) > 1


def _describe(group: Copies) -> dict[str, object]:
    return {
        "kind": group.kind,
        "images": [member.name for member in group.members],
        "labels": [CLASSES[member.label] for member in group.members],
    }


def _refuse_copies(group: Copies) -> Iterator[Refusal]:
    names = [member.name for member in group.members]
    if _conflicting(group):
        labels = ", ".join(f"{member.name} {CLASSES[member.label]}" for member in group.members[:5])
        for name in names:
            yield Refusal(name, Reason.CONFLICTING_LABELS.value, f"equal pixels: {labels}")
    else:
        for name in names[1:]:
            yield Refusal(name, Reason.EXACT_COPY.value, f"a copy of {names[0]}")


def _unite(groups: list[Copies]) -> dict[str, str]:
    """Maps every split key that copies link to the smallest key it is linked with."""
    keys = sorted({member.key for group in groups for member in group.members})
    positions = {key: position for position, key in enumerate(keys)}
    edges = [
        (positions[group.members[0].key], positions[member.key])
        for group in groups
        for member in group.members
    ]
    if not edges:
        return {}
    rows, columns = zip(*edges, strict=True)
    _, components = connected_components(
        coo_array(([True] * len(edges), (rows, columns)), shape=(len(keys), len(keys))),
        directed=False,
    )
    smallest: dict[int, str] = {}
    for key, component in zip(keys, components, strict=True):
        smallest.setdefault(int(component), key)
    united = {
        key: smallest[int(component)] for key, component in zip(keys, components, strict=True)
    }
    return {key: target for key, target in united.items() if key != target}

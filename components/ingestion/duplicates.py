"""What happens to copies of images: which are left out, and which must stay together."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from components.ingestion.linking import linked
from components.ingestion.refusals import Reason, Refusal
from models.features import CLASSES, EVAL_SPLIT, TEST_SPLIT, TRAIN_SPLIT

_PRECIOUS = (TEST_SPLIT, EVAL_SPLIT, TRAIN_SPLIT, None)  # whose images must not change first


class Kind(str, Enum):
    """How alike copies are: equal pixels, or near perceptual hashes."""

    EXACT = "exact"
    NEAR = "near"


class Member(NamedTuple):
    """One image; `key` decides its split (`splits.split_key`)."""

    name: str
    key: str
    label: int


class Copies(NamedTuple):
    """A group of copies; members are sorted by name."""

    kind: Kind
    members: tuple[Member, ...]


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
SplitOf = Callable[[str], str | None]
"""From a key to its split; None where a table names none."""


def resolve(
    groups: Iterable[Copies], split_of: SplitOf, deduplicate: bool, given: bool = False
) -> Resolution:
    """Decides what happens to `groups`.

    Args:
        groups: from `copies.name_copies`.
        split_of: from a member's key to its split.
        deduplicate: False reports and changes nothing.
        given: the splits are somebody's, as of a challenge, and not a hash's: what is given
            for the test stays there, and the copies of it come to it. The summary then tells
            how many keys were moved, and the copies that they were moved for.
    """
    ordered = sorted(groups)
    exact = [group for group in ordered if group.kind == Kind.EXACT]
    near = [group for group in ordered if group.kind == Kind.NEAR]
    leaks = [
        group for group in ordered if len({split_of(member.key) for member in group.members}) > 1
    ]
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
        result.same_split = _unite(ordered, split_of if given else None)
    if given:
        moved = {
            key
            for key, other in result.same_split.items()
            if split_of(key) not in (None, split_of(other))
        }
        result.summary["moved_from_given_split"] = len(moved)
        result.summary["moved_images"] = sorted(
            {member.name for group in ordered for member in group.members if member.key in moved}
        )[:EXAMPLES]
    return result


def _conflicting(group: Copies) -> bool:
    return len({member.label for member in group.members}) > 1


def _describe(group: Copies) -> dict[str, object]:
    return {
        "kind": group.kind.value,
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


def _unite(groups: list[Copies], given: SplitOf | None) -> dict[str, str]:
    """Maps every split key that copies link to one of the keys it is linked with.

    To the smallest; where splits are `given`, to one in the most precious of these splits.
    """

    def rank(key: str) -> tuple[int, str]:
        return (0 if given is None else _PRECIOUS.index(given(key)), key)

    united = linked([member.key for member in group.members] for group in groups)
    ranked = (sorted(keys, key=rank) for keys in united)
    return {key: keys[0] for keys in ranked for key in keys[1:]}

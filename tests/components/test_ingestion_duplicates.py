"""Copies: what counts as one, how they are found, and what is done about them."""

import itertools
from functools import partial

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.ingestion.linking import linked
from components.ingestion.perceptual_hash import (
    BITS,
    BYTES,
    bands,
    distances,
    near_groups,
    perceptual_hash,
)

LIMIT = 6


def as_array(hashes: list[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, BYTES)


def distance(first: bytes, second: bytes) -> int:
    return (int.from_bytes(first, "big") ^ int.from_bytes(second, "big")).bit_count()


@pytest.mark.parametrize(
    "change",
    [
        lambda image: cv2.imdecode(cv2.imencode(".jpg", image, [1, 60])[1], 0),
        lambda image: cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
        lambda image: cv2.convertScaleAbs(image, alpha=0.9, beta=10),
        lambda image: cv2.GaussianBlur(image, (5, 5), 1),
    ],
    ids=["recompressed", "half the size", "other exposure", "blurred"],
)
def test_near_copies_of_real_xrays_are_near_and_others_are_far(cxr4, change):
    images = [
        cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        for path in sorted((cxr4 / "train").iterdir())[:60]
    ]
    hashes = [perceptual_hash(image) for image in images]
    copies = [perceptual_hash(change(image)) for image in images]
    assert max(map(distance, hashes, copies)) <= LIMIT
    assert min(distance(*pair) for pair in itertools.combinations(hashes, 2)) > LIMIT


@settings(deadline=None)  # time is not what is tested
@given(
    st.binary(min_size=BITS // 8, max_size=BITS // 8),
    st.sets(st.integers(0, BITS - 1), max_size=7),
)
def test_hashes_within_seven_bits_share_a_band(value, flips):
    number = int.from_bytes(value, "big")
    for bit in flips:
        number ^= 1 << bit
    other = number.to_bytes(BITS // 8, "big")
    first, second = bands(as_array([value, other]))
    assert (first == second).any()


@settings(deadline=None)  # time is not what is tested
@given(st.lists(st.binary(min_size=BYTES, max_size=BYTES), min_size=1, max_size=8))
def test_distances_are_the_differing_bits(hashes):
    others = hashes[::-1]
    expected = [distance(*pair) for pair in zip(hashes, others, strict=True)]
    assert distances(as_array(hashes), as_array(others)).tolist() == expected


@settings(deadline=None)  # time is not what is tested
@given(
    # Two values a band, so that bands agree often; the low bytes differ by few bits or many.
    st.sets(st.tuples(st.integers(0, 1), st.integers(0, 4095)), min_size=1, max_size=14),
    st.integers(0, 7),
    st.integers(0, 7),
)
def test_near_groups_are_the_connected_components(parts, band, limit):
    hashes = [high.to_bytes(1, "big") * 2 + low.to_bytes(14, "big") for high, low in sorted(parts)]
    parent = list(range(len(hashes)))
    for _ in hashes:  # the textbook way: spread the smallest index along near pairs
        for first, second in itertools.product(range(len(hashes)), repeat=2):
            agree = (
                hashes[first][2 * band : 2 * band + 2] == hashes[second][2 * band : 2 * band + 2]
            )
            if agree and distance(hashes[first], hashes[second]) <= limit:
                parent[first] = parent[second] = min(parent[first], parent[second])
    found = near_groups(as_array(hashes), band, limit)
    for first, second in itertools.product(range(len(hashes)), repeat=2):
        assert (found[first] == found[second]) == (parent[first] == parent[second])


@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=4), max_size=6))
def test_groups_that_share_an_item_are_united(groups):
    expected = [set(group) for group in groups]
    for _ in groups:  # until nothing changes
        for one, other in itertools.product(expected, repeat=2):
            if one & other:
                one |= other
                other |= one
    found = [tuple(group) for group in linked(groups)]
    assert len(found) == len(set(found))
    assert set(found) == {tuple(sorted(group)) for group in expected}


def find(images: list[tuple], shards: int = 2) -> list:
    """Runs `FindCopies` on images (name, key, label, digest, hash); returns the named groups."""
    import apache_beam as beam

    from components.ingestion.copies import Batch, FindCopies, name_copies, place
    from components.ingestion.duplicates import Member

    batches, members = [], {}
    for shard in range(shards):
        part = images[shard::shards]
        for row, image in enumerate(part):
            members[place(shard, row)] = Member(*image[:3])
        for first in range(0, len(part), 3):
            few = part[first : first + 3]
            digests = b"".join(bytes.fromhex(image[3]) for image in few)
            batches.append(Batch(shard, first, digests, b"".join(image[4] for image in few)))
    _FOUND.clear()
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        _ = pipeline | beam.Create(batches) | FindCopies(LIMIT) | beam.Map(_keep)
    return name_copies(_FOUND, members)


def _keep(copies) -> None:
    _FOUND.append(copies)


_FOUND: list = []  # the runner is in this process


@pytest.fixture(scope="module")
def images():
    """Six images: a and b equal, c near them, d and e equal under different labels, f alone."""
    rng = np.random.default_rng(1)
    first, other, alone = rng.bytes(16), rng.bytes(16), rng.bytes(16)
    near = bytes([first[0] ^ 0b111]) + first[1:]
    return [
        ("a", "patient-1", 0, "1" * 64, first),
        ("b", "patient-2", 0, "1" * 64, first),
        ("c", "patient-3", 0, "3" * 64, near),
        ("d", "patient-4", 1, "4" * 64, other),
        ("e", "patient-5", 2, "4" * 64, other),
        ("f", "patient-6", 0, "6" * 64, alone),
    ]


def test_copies_are_found_in_beam_whatever_the_order(images):
    found = find(images)
    assert [(copy.kind, [member.name for member in copy.members]) for copy in found] == [
        ("exact", ["a", "b"]),
        ("exact", ["d", "e"]),
        ("near", ["a", "c"]),
    ]
    assert find(images[::-1], shards=3) == found


def test_near_copies_that_other_bands_link_are_one_group():
    """a is near b in every band but one, b is near c in every band but another; a is not near c."""
    value = np.random.default_rng(2).bytes(16)
    middle = bytes([value[0] ^ 0b11111, *value[1:]])
    last = bytes([*middle[:-1], middle[-1] ^ 0b11111])
    assert distance(value, last) > LIMIT
    images = [
        (name, name, 0, str(number) * 64, content)
        for number, (name, content) in enumerate(zip("abc", (value, middle, last), strict=True))
    ]
    (group,) = find(images)
    assert (group.kind, [member.name for member in group.members]) == ("near", ["a", "b", "c"])


def test_a_copy_is_found_among_thousands():
    rng = np.random.default_rng(0)
    images = [(str(i), str(i), 0, rng.bytes(32).hex(), rng.bytes(16)) for i in range(3000)]
    images[2900] = (*images[2900][:3], images[7][3], images[7][4])  # equal
    near = images[3][4][:-1] + bytes([images[3][4][-1] ^ 1])
    images[1400] = (*images[1400][:4], near)
    found = {(group.kind.value, *sorted(m.name for m in group.members)) for group in find(images)}
    assert found == {("exact", "2900", "7"), ("near", "1400", "3")}


def test_copies_are_dropped_and_their_patients_stay_together(images):
    from components.ingestion.duplicates import resolve
    from components.ingestion.splits import assign

    shares = {"train": 1.0, "eval": 1.0, "test": 1.0}
    split_of = partial(assign, shares=shares, salt="salt")
    result = resolve(find(images), split_of, deduplicate=True)
    assert {refusal.path: refusal.reason for refusal in result.refused} == {
        "b": "exact_copy",
        "d": "conflicting_labels",
        "e": "conflicting_labels",
    }
    assert result.same_split == {
        "patient-2": "patient-1",
        "patient-3": "patient-1",
        "patient-5": "patient-4",
    }
    across = len({split_of(f"patient-{index}") for index in (1, 2, 3)}) > 1
    assert across, "choose a salt that puts the copies on different sides"
    assert result.summary["groups_across_splits"]


@pytest.mark.parametrize(
    ("given", "representative", "moved"),
    [
        ({"patient-1": "train", "patient-2": "train", "patient-3": "test"}, "patient-3", "ab"),
        ({"patient-1": "train", "patient-2": "eval", "patient-3": "train"}, "patient-2", "ac"),
        ({"patient-1": "test", "patient-2": "eval", "patient-3": "test"}, "patient-1", "b"),
        ({"patient-2": "train", "patient-3": "eval"}, "patient-3", "b"),
    ],
)
def test_copies_follow_the_image_that_was_given_for_the_test(images, given, representative, moved):
    from components.ingestion.duplicates import resolve

    given = {**given, "patient-4": "train", "patient-5": "train"}
    result = resolve(find(images), given.get, deduplicate=True, given=True)
    linked_keys = {f"patient-{number}" for number in (1, 2, 3)}
    followers = {key: other for key, other in result.same_split.items() if key in linked_keys}
    assert followers == dict.fromkeys(linked_keys - {representative}, representative)
    assert result.summary["moved_from_given_split"] == len(moved)
    assert result.summary["moved_images"] == list(moved)


def test_deduplication_can_be_left_to_the_reader_of_the_report(images):
    from components.ingestion.duplicates import resolve

    result = resolve(find(images), lambda key: "train", deduplicate=False)
    assert (result.refused, result.same_split) == ([], {})
    assert result.summary["exact_groups"] == 2
    assert result.summary["conflicting_groups"] == 1
    assert result.summary["near_groups"] == 1

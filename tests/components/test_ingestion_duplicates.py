"""Copies: what counts as one, how they are found, and what is done about them."""

import itertools

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.ingestion.perceptual_hash import BITS, bands, group, perceptual_hash

LIMIT = 6


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
    assert set(bands(value)) & set(bands(other))


@settings(deadline=None)  # time is not what is tested
@given(st.lists(st.integers(0, 255), min_size=1, max_size=12), st.integers(0, 7))
def test_groups_are_the_connected_components(numbers, limit):
    hashes = [number.to_bytes(16, "big") for number in numbers]
    parent = list(range(len(hashes)))
    for _ in hashes:  # the textbook way: spread the smallest index along near pairs
        for first, second in itertools.product(range(len(hashes)), repeat=2):
            if distance(hashes[first], hashes[second]) <= limit:
                parent[first] = parent[second] = min(parent[first], parent[second])
    expected = {
        tuple(index for index in range(len(hashes)) if parent[index] == root)
        for root in set(parent)
    }
    found = {tuple(members) for members in group(hashes, limit)}
    assert found == {members for members in expected if len(members) > 1}


def test_large_buckets_are_compared_in_blocks():
    rng = np.random.default_rng(0)
    hashes = [rng.bytes(16) for _ in range(1500)]
    hashes[1400] = hashes[3][:-1] + bytes([hashes[3][-1] ^ 1])
    assert group(hashes, LIMIT) == [[3, 1400]]


def find(facts: list) -> list:
    """Runs `FindCopies` and returns the groups that it finds, sorted."""
    import apache_beam as beam

    from components.ingestion.duplicates import FindCopies

    _FOUND.clear()
    with beam.Pipeline(runner="DirectRunner") as pipeline:
        _ = pipeline | beam.Create(facts) | FindCopies(LIMIT) | beam.Map(_keep)
    return sorted(_FOUND)


def _keep(copies) -> None:
    _FOUND.append(copies)


_FOUND: list = []  # the runner is in this process


@pytest.fixture(scope="module")
def facts():
    """Six images: a and b equal, c near them, d and e equal under different labels, f alone."""
    from components.ingestion.duplicates import Fact

    rng = np.random.default_rng(1)
    first, other, alone = rng.bytes(16), rng.bytes(16), rng.bytes(16)
    near = bytes([first[0] ^ 0b111]) + first[1:]
    return [
        Fact(
            "a",
            "patient-1",
            0,
            "1" * 64,
            first,
        ),
        Fact(
            "b",
            "patient-2",
            0,
            "1" * 64,
            first,
        ),
        Fact(
            "c",
            "patient-3",
            0,
            "3" * 64,
            near,
        ),
        Fact(
            "d",
            "patient-4",
            1,
            "4" * 64,
            other,
        ),
        Fact(
            "e",
            "patient-5",
            2,
            "4" * 64,
            other,
        ),
        Fact(
            "f",
            "patient-6",
            0,
            "6" * 64,
            alone,
        ),
    ]


def test_copies_are_found_in_beam_whatever_the_order(facts):
    found = find(facts)
    assert [(copy.kind, [member.name for member in copy.members]) for copy in found] == [
        ("exact", ["a", "b"]),
        ("exact", ["d", "e"]),
        ("near", ["a", "c"]),
    ]
    assert find(facts[::-1]) == found


def test_copies_are_dropped_and_their_patients_stay_together(facts):
    from components.ingestion.duplicates import resolve
    from components.ingestion.splits import assign

    shares = {"train": 1.0, "eval": 1.0, "test": 1.0}
    result = resolve(find(facts), shares, "salt", deduplicate=True)
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
    across = len({assign(f"patient-{index}", shares, "salt") for index in (1, 2, 3)}) > 1
    assert across, "choose a salt that puts the copies on different sides"
    assert result.summary["groups_across_splits"]


def test_deduplication_can_be_left_to_the_reader_of_the_report(facts):
    from components.ingestion.duplicates import resolve

    result = resolve(find(facts), {"train": 1.0}, "", deduplicate=False)
    assert (result.refused, result.same_split) == ([], {})
    assert result.summary["exact_groups"] == 2
    assert result.summary["conflicting_groups"] == 1
    assert result.summary["near_groups"] == 1

"""Splits: by patient, in proportion, the same for everybody."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from components.ingestion import splits
from components.ingestion.settings import DataSettings
from components.ingestion.splits import assign, patient_hash, split_key, spread

SHARES = DataSettings().splits


@pytest.mark.parametrize("shares", [SHARES, {"train": 1, "eval": 1, "test": 2}])
def test_shares_are_kept(shares):
    counts = Counter(assign(f"{index:x}", shares, "salt") for index in range(20_000))
    for name, share in shares.items():
        expected = share / sum(shares.values())
        assert counts[name] / 20_000 == pytest.approx(expected, abs=0.015)


def test_the_choice_is_pinned():
    """A changed hash would move patients between the splits of existing data sets."""
    assert [assign(f"{index}", SHARES, "coronet") for index in range(8)] == [
        "train",
        "eval",
        "eval",
        "train",
        "train",
        "train",
        "eval",
        "eval",
    ]
    assert patient_hash("p1", "coronet") == "24b558a9daa09fef"


@pytest.mark.parametrize(
    ("hashed", "split"),
    [("0" * 16, "train"), ("4" + "0" * 15, "eval"), ("8" + "0" * 15, "test"), ("f" * 16, "test")],
)
def test_a_share_begins_where_the_one_before_ends(monkeypatch, hashed, split):
    monkeypatch.setattr(splits, "_hash", lambda *_: hashed)
    assert assign("key", {"train": 1, "eval": 1, "test": 2}, "salt") == split


def test_names_are_spread_over_all_buckets():
    counts = Counter(spread(f"{index}.png", 7) for index in range(7_000))
    assert set(counts) == set(range(7))
    assert min(counts.values()) > 800


@settings(deadline=None)  # time is not what is tested
@given(st.text(min_size=1), st.text())
def test_patients_are_not_recognisable(patient, salt):
    hashed = patient_hash(patient, salt)
    assert len(hashed) == 16
    assert hashed != patient
    assert hashed != patient_hash(patient, salt + "x")


def test_an_unknown_patient_is_told_apart_by_content():
    assert patient_hash("", "salt") == ""
    assert split_key("", "digest") == "digest"
    assert split_key("patient", "digest") == "patient"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("splits", {"train": 80, "test": 20}),
        ("splits", {"train": 0, "eval": 1, "test": 1}),
        ("splits", {"train": 2, "eval": -1, "test": 1}),
        ("splits", {"train": 80, "eval": 20, "test": 0}),
        ("splits", {"train": 80, "eval": 0, "test": 20}),
        ("splits", {"train": 80, "eval": float("nan"), "test": 20}),
        ("class_aliases", {"tb": "tuberculosis"}),
        ("patient_pattern", "person[0-9]+"),
        ("patient_pattern", "(unclosed"),
        ("max_bad_fraction", 1.5),
        ("near_duplicate_bits", 8),
    ],
)
def test_settings_that_make_no_sense(field, value):
    with pytest.raises(ValidationError):
        DataSettings(**{field: value})

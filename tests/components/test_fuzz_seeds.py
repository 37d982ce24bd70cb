"""Replays what fuzzing found: these files once got past the readers' error handling."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

FUZZ = Path(__file__).resolve().parents[1] / "fuzz"
SEEDS = sorted((FUZZ / "seeds").iterdir())


@pytest.fixture(scope="module")
def fuzzer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz_readers", FUZZ / "fuzz_readers.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: seed.name)
def test_a_find_no_longer_gets_past_the_error_handling(fuzzer, seed):
    """Some damage cannot be told from an image; what must not come is an exception."""
    assert fuzzer.feed(seed.read_bytes(), seed.suffix)


def test_the_corpus_itself_is_accepted(fuzzer):
    for suffix, files in fuzzer.corpus().items():
        for data in files:
            outcome = fuzzer.feed(data, suffix)
            assert outcome == "accepted", (suffix, outcome)

"""Throws damaged files at every reader, for as long as it is told to.

    python tests/fuzz/fuzz_readers.py --seconds 600 --seed 1

Not collected by pytest (its name is no test's). Valid files of every format are mutated:
bits, bytes, blocks, lengths and cuts. A reader may refuse an input, and a table reader may
raise `InputError`; anything else is a find. What a reader accepts, the serving graph must
decode to the same pixels. Finds are kept in `tests/fuzz/seeds/`, from
where `tests/components/test_fuzz_seeds.py` replays them.
"""

import argparse
import hashlib
import io
import random
import sys
import tarfile
import tempfile
import time
import tracemalloc
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from components.ingestion import archives, readers, tables
from components.ingestion.discovery import unlabelled
from components.ingestion.reading import UNLABELLED, Reading
from components.ingestion.refusals import Refusal, RefusedError
from components.ingestion.settings import DataSettings
from models import image_ops
from models.errors import InputError

SEEDS = Path(__file__).with_name("seeds")
SETTINGS = DataSettings(max_pixels=4_000_000, max_file_bytes=4_000_000)
MEMORY_LIMIT = 300_000_000  # bytes that Python allocates for one input
SECONDS_LIMIT = 20


def feed(data: bytes, suffix: str) -> str:
    """Feeds `data` to whatever reads files that end in `suffix`; returns what became of it.

    Raises:
        Exception: whatever a reader let through: a find.
    """
    if suffix in (".csv", ".jsonl"):
        return _feed_table(data, suffix)
    if suffix in archives.SUFFIXES:
        return _feed_archive(data, suffix)
    try:
        radiograph = readers.read(data, SETTINGS)
    except RefusedError as refused:
        return refused.reason.value
    served = image_ops.decode(radiograph.encoded).numpy()[..., 0]
    if not np.array_equal(served, radiograph.pixels):
        raise ValueError("the serving graph decodes other pixels")
    return "accepted"


def _feed_table(data: bytes, suffix: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"table{suffix}")
        path.write_bytes(data)
        try:
            if not tables.has_labels(str(path), folder, SETTINGS):
                return "unlabelled table"
            for _ in tables.rows(str(path), folder, SETTINGS):
                pass
        except InputError:
            return "input error"
    return "accepted"


def _feed_archive(data: bytes, suffix: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, f"set{suffix}").write_bytes(data)
        reading = Reading(folder, UNLABELLED, SETTINGS)
        found = list(unlabelled(folder))
        references = [item for item in found if not isinstance(item, Refusal)]
        items = [*reading.read(references), *(item for item in found if isinstance(item, Refusal))]
        left = [path.name for path in Path(folder).rglob("*")]
        assert left == [f"set{suffix}"], f"an archive wrote {left}"
    refused = [item.reason for item in items if isinstance(item, Refusal)]
    return refused[0] if refused else "accepted"


def corpus() -> dict[str, list[bytes]]:
    """Valid files by suffix."""
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 255, (48, 56), dtype=np.uint8))

    def saved(name: str, picture: Image.Image = image, **options: object) -> bytes:
        buffer = io.BytesIO()
        picture.save(buffer, format=name, **options)
        return buffer.getvalue()

    png = saved("PNG")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("normal/a.png", png)
        archive.writestr("covid/b.jpeg", saved("JPEG"))
    files = {
        ".jpeg": [saved("JPEG"), saved("JPEG", image.convert("RGB"), progressive=True)],
        ".png": [png, saved("PNG", image.convert("P")), saved("PNG", image.convert("RGBA"))],
        ".bmp": [saved("BMP")],
        ".tiff": [saved("TIFF"), saved("TIFF", compression="tiff_lzw")],
        ".webp": [saved("WEBP")],
        ".gif": [saved("GIF")],
        ".dcm": _dicom_files(),
        ".zip": [packed.getvalue()],
        ".csv": [b'filename,label,patient_id\na.png,normal,1\n"b, c.png",covid,2\n' * 3],
        ".jsonl": [b'{"filename": "a.png", "label": "normal"}\n{"filename": "b", "label": 1}\n'],
    }
    for suffix, mode in ((".tar", "w"), (".tar.gz", "w:gz")):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode=mode) as tar:
            info = tarfile.TarInfo("normal/a.png")
            info.size = len(png)
            tar.addfile(info, io.BytesIO(png))
        files[suffix] = [buffer.getvalue()]
    return files


def _dicom_files() -> list[bytes]:
    from pydicom.data import get_testdata_file

    names = ("MR_small.dcm", "MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "JPGExtended.dcm")
    return [Path(str(get_testdata_file(name))).read_bytes() for name in names]


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Returns `data` with one to eight random wounds."""
    wounded = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        if not wounded:
            break
        # Headers are where the decisions are.
        end = len(wounded) if rng.random() < 0.5 else min(len(wounded), 400)
        at = rng.randrange(end)
        rng.choice(_WOUNDS)(wounded, at, rng)
    return bytes(wounded)


def _flip(data: bytearray, at: int, rng: random.Random) -> None:
    data[at] ^= 1 << rng.randrange(8)


def _extreme(data: bytearray, at: int, rng: random.Random) -> None:
    size = rng.choice((1, 2, 4))
    data[at : at + size] = rng.choice((bytes(size), b"\xff" * size, b"\x7f" + b"\xff" * (size - 1)))


def _noise(data: bytearray, at: int, rng: random.Random) -> None:
    size = rng.randint(1, 32)
    data[at : at + size] = rng.randbytes(size)


def _cut(data: bytearray, at: int, rng: random.Random) -> None:
    del data[at : at + rng.randint(1, 64)]


def _truncate(data: bytearray, at: int, rng: random.Random) -> None:
    del data[at:]


def _repeat(data: bytearray, at: int, rng: random.Random) -> None:
    data[at:at] = data[at : at + rng.randint(1, 64)] * rng.randint(1, 20)


_WOUNDS: tuple[Callable[[bytearray, int, random.Random], None], ...] = (
    _flip,
    _extreme,
    _noise,
    _cut,
    _truncate,
    _repeat,
)


def fuzz(seconds: float, seed: int) -> int:
    """Runs for `seconds`; prints and keeps the finds, and returns their number."""
    rng = random.Random(seed)
    files = [(suffix, data) for suffix, found in corpus().items() for data in found]
    outcomes: Counter[str] = Counter()
    finds = 0
    tracemalloc.start()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        suffix, data = rng.choice(files)
        wounded = mutate(data, rng)
        tracemalloc.reset_peak()
        start = time.monotonic()
        problem = ""
        try:
            outcomes[feed(wounded, suffix)] += 1
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a panic in a Rust decoder is no Exception
            problem = repr(error)
        if time.monotonic() - start > SECONDS_LIMIT:
            problem = problem or "too slow"
        if tracemalloc.get_traced_memory()[1] > MEMORY_LIMIT:
            problem = problem or "too much memory"
        if problem:
            finds += 1
            name = hashlib.sha256(wounded).hexdigest()[:12] + suffix
            (SEEDS / name).write_bytes(wounded)
            print(f"{name}: {problem}", flush=True)
    print(f"{outcomes.total()} inputs, {finds} finds; {dict(outcomes.most_common())}")
    return finds


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    sys.exit(1 if fuzz(arguments.seconds, arguments.seed) else 0)

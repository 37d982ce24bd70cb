"""Synthetic chest phantoms: a data set that needs no download and is nobody's X-ray.

Each phantom has a thorax, two lung fields, ribs, spine, heart, diaphragm and detector
noise, at varying size, aspect ratio, exposure, position and rotation. The classes differ
as the paper's section I.B describes them: normal lungs have the most contrast; viral
lungs are deflated and noisy around the centre; bacterial ones look like viral ones with
cloudiness towards the top; covid deforms the lungs most towards the bottom.

Phantoms exercise the pipeline. A model trained on them knows nothing about people.
"""

import csv
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from components.ingestion.names import printable
from models.errors import InputError
from models.features import CLASSES

MARK = "SYNTHETIC"
SOURCE = "phantom"
# The paper's 350 : 350 : 350 : 77.
PROPORTIONS = {"normal": 350, "bacterial": 350, "viral": 350, "covid": 77}
CANVAS = 384  # pixels; phantoms are drawn at this height, then scaled

README = """# Synthetic chest phantoms

Drawn by `coronet sample` (seed {seed}). These are not X-rays of people: every image is
computer-drawn and carries the word SYNTHETIC. They exist to exercise the pipeline; a
model trained on them says nothing about a patient.

`train.csv`: filename, label, patient_id, source.
"""
_HEADING = README.partition("\n")[0].encode()
_IMAGE = re.compile(r"phantom-\d{4,}\.jpeg")


@dataclass(frozen=True)
class Phantom:
    """One drawn image: `pixels` uint8 [H, W], its class and its made-up patient."""

    pixels: np.ndarray
    label: str
    patient_id: str


def write_sample(folder: Path, images: int = 800, seed: int = 2020) -> dict[str, int]:
    """Writes `images` phantoms and `train.csv` into `folder`; returns the count per class.

    The same `images` and `seed` give the same bytes. The folder appears whole or not at
    all: phantoms are drawn beside it and renamed into place. An older sample is replaced.

    `coronet run` wants every class in its test split; of fewer than about 200 images, covid's
    share is too small for that.

    Raises:
        InputError: `images` is below 40, or `folder` holds something that is not ours, or is no
            folder that can be written.
    """
    if images < 40:
        raise InputError(f"a sample needs at least 40 images, received {images}")
    if folder.name in ("", ".."):
        raise InputError(f"{folder} cannot be replaced as a whole: name a new folder")
    staging = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        if folder.is_symlink():
            raise InputError(f"{folder} is a link: name the folder itself")
        if folder.exists():
            _require_ours(folder)
        counts = _write_phantoms(staging, images, seed)
        shutil.rmtree(folder, ignore_errors=True)
        staging.rename(folder)
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error.strerror}; name another folder") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return counts


def _require_ours(folder: Path) -> None:
    """Refuses a folder in which anything was not written by `write_sample`."""
    strays = sorted(folder.iterdir())
    readme, train = folder / "README.md", folder / "train"
    if readme.is_file() and readme.read_bytes().startswith(_HEADING):
        strays = [path for path in strays if path.name not in ("README.md", "train", "train.csv")]
        if train.is_dir():
            strays += [path for path in sorted(train.iterdir()) if not _IMAGE.fullmatch(path.name)]
    if strays:
        raise InputError(
            f"{folder} is not empty, and `coronet sample` did not write its "
            f"{printable(str(strays[0].relative_to(folder)))}: name another folder, or empty this "
            "one"
        )


def _write_phantoms(folder: Path, images: int, seed: int) -> dict[str, int]:
    (folder / "train").mkdir(parents=True)
    counts = dict.fromkeys(CLASSES, 0)
    with (folder / "train.csv").open("w", newline="") as table:
        rows = csv.writer(table, lineterminator="\n")
        rows.writerow(["filename", "label", "patient_id", "source"])
        for index, phantom in enumerate(draw_phantoms(images, seed)):
            name = f"phantom-{index:04d}.jpeg"
            _, encoded = cv2.imencode(".jpeg", phantom.pixels, [cv2.IMWRITE_JPEG_QUALITY, 90])
            (folder / "train" / name).write_bytes(encoded.tobytes())
            rows.writerow([name, phantom.label, phantom.patient_id, SOURCE])
            counts[phantom.label] += 1
    (folder / "README.md").write_text(README.format(seed=seed))
    return counts


def draw_phantoms(images: int, seed: int) -> Iterator[Phantom]:
    """Yields `images` phantoms in the paper's class proportions, in a shuffled order."""
    rng = np.random.default_rng(seed)
    share = images / sum(PROPORTIONS.values())
    labels = [name for name in CLASSES for _ in range(round(PROPORTIONS[name] * share))]
    labels = (labels + list(CLASSES))[:images]
    rng.shuffle(labels)
    # One patient in four was imaged twice.
    patient = 0
    last: dict[str, str] = {}
    for label in labels:
        if label not in last or rng.random() > 0.25:
            last[label] = f"p{patient:04d}"
            patient += 1
        yield Phantom(draw_phantom(label, rng), label, last[label])


def draw_phantom(label: str, rng: np.random.Generator) -> np.ndarray:
    """Returns one phantom of class `label`, uint8 [H, W], 150 to 640 pixels a side."""
    height, width = CANVAS, round(CANVAS * rng.uniform(0.85, 1.3))
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    # Anatomical coordinates: u to the patient's left in [-1, 1], v downwards in [0, 1].
    angle = np.deg2rad(rng.normal(0, 4))
    centre_x = width * rng.uniform(0.46, 0.54)
    centre_y = height * rng.uniform(0.44, 0.54)
    scale = rng.uniform(0.85, 1.05) * width / 2
    u = ((x - centre_x) * np.cos(angle) + (y - centre_y) * np.sin(angle)) / scale
    v = ((y - centre_y) * np.cos(angle) - (x - centre_x) * np.sin(angle)) / height + 0.5

    lungs = _lung_fields(u, v, label, rng)
    image = _thorax(u, v, rng) - rng.uniform(0.42, 0.55) * lungs
    image += lungs * _opacities(u, v, label, rng)
    image += _ribs(u, v, rng) + _mediastinum(u, v, rng)
    contrast = rng.uniform(0.85, 1.05) if label == "normal" else rng.uniform(0.7, 1.0)
    image = 0.5 + contrast * (image - 0.5) + rng.normal(0, 0.05)
    image += rng.normal(0, rng.uniform(0.015, 0.04), image.shape)  # detector noise
    pixels = np.clip(image * 255, 0, 255).astype(np.uint8)

    longer = rng.integers(220, 560)
    ratio = longer / max(pixels.shape)
    size = (max(150, round(width * ratio)), max(150, round(height * ratio)))
    pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    corner = (6, pixels.shape[0] - 6)
    cv2.putText(pixels, MARK, corner, cv2.FONT_HERSHEY_SIMPLEX, size[0] / 700, 235, 1, cv2.LINE_AA)
    return pixels


def _thorax(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Soft tissue: bright body on a black background, float32 [H, W] in [0, 1]."""
    body = _smooth(1 - (u / 0.98) ** 6 - ((v - 0.62) / 0.68) ** 6, 0.15)
    return body * rng.uniform(0.62, 0.74)


def _lung_fields(u: np.ndarray, v: np.ndarray, label: str, rng: np.random.Generator) -> np.ndarray:
    """Aeration in [0, 1]; infected lungs are deflated, covid is cut off at the base."""
    deflation = {"normal": 0.0, "bacterial": 0.05, "viral": 0.09, "covid": 0.05}[label]
    deflation += rng.normal(0, 0.035)
    fields = np.zeros_like(u)
    for side in (-1, 1):
        half_width = rng.uniform(0.30, 0.35) - deflation
        middle = side * rng.uniform(0.42, 0.48)
        top, bottom = 0.12 + deflation, rng.uniform(0.82, 0.88) - deflation
        across = (u - middle) / half_width
        down = (v - (top + bottom) / 2) / ((bottom - top) / 2)
        diaphragm = bottom - 0.10 * across**2
        field = _smooth(1 - across**2 - np.abs(down) ** 3, 0.25)
        fields = np.maximum(fields, field * _smooth(diaphragm - v, 0.03))
    return fields


def _opacities(u: np.ndarray, v: np.ndarray, label: str, rng: np.random.Generator) -> np.ndarray:
    """What fills the lungs: haze, streaks and consolidations, float32 [H, W]."""
    haze = 0.05 * _clouds(u.shape, 24, rng)
    if label == "normal":
        return haze
    # Streaks around the centre: strong in viral, present in bacterial.
    strength = {"viral": 0.30, "bacterial": 0.14, "covid": 0.12}[label]
    strength *= rng.uniform(0.6, 1.3)
    perihilar = np.exp(-(((np.abs(u) - 0.25) / 0.25) ** 2) - ((v - 0.5) / 0.22) ** 2)
    haze += strength * perihilar * np.abs(_clouds(u.shape, 8, rng))
    if label == "bacterial":
        haze += _patches(u, v, rng, count=rng.integers(1, 3), level=(0.24, 0.42), outwards=False)
    if label == "covid":
        haze += _patches(u, v, rng, count=rng.integers(3, 6), level=(0.68, 0.80), outwards=True)
    return haze


def _patches(
    u: np.ndarray,
    v: np.ndarray,
    rng: np.random.Generator,
    count: int,
    level: tuple[float, float],
    outwards: bool,
) -> np.ndarray:
    """Consolidations at `level` (v), near the chest wall if `outwards`."""
    total = np.zeros_like(u)
    for _ in range(count):
        side = rng.choice([-1, 1])
        middle = side * (rng.uniform(0.52, 0.68) if outwards else rng.uniform(0.35, 0.55))
        spread = rng.uniform(0.10, 0.17)
        bump = np.exp(-(((u - middle) / spread) ** 2) - ((v - rng.uniform(*level)) / 0.09) ** 2)
        total += rng.uniform(0.20, 0.36) * bump * (1 + 0.5 * _clouds(u.shape, 10, rng))
    return total


def _ribs(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Nine pairs of arcs, falling off towards the abdomen."""
    pitch = rng.uniform(0.078, 0.09)
    phase = (v + 0.16 * u**2 - rng.uniform(0.1, 0.16)) / pitch
    arcs = np.clip(np.cos(2 * np.pi * phase), 0.35, 1) - 0.35
    return rng.uniform(0.10, 0.16) * arcs * (np.abs(u) < 0.85) * _smooth(0.85 - v, 0.06)


def _mediastinum(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Spine and heart, the heart towards the patient's left."""
    spine = 0.16 * np.exp(-((u / 0.10) ** 2))
    size = rng.uniform(0.20, 0.27)
    heart = _smooth(1 - ((u - 0.14) / size) ** 2 - ((v - 0.68) / 0.17) ** 2, 0.4)
    return spine + rng.uniform(0.18, 0.25) * heart


def _clouds(shape: tuple[int, ...], cell: int, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise with features of about `cell` pixels, zero mean, unit deviation."""
    height, width = shape
    coarse = rng.normal(size=(height // cell + 2, width // cell + 2)).astype(np.float32)
    noise = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return (noise - noise.mean()) / noise.std()


def _smooth(value: np.ndarray, softness: float) -> np.ndarray:
    """A step from 0 to 1 at `value` = 0 with a logistic edge."""
    return 1 / (1 + np.exp(np.clip(-4 * value / softness, -30, 30)))

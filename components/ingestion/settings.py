"""How a folder of X-rays is read, labelled, checked and split.

Nothing here imports TFX, Beam or TensorFlow: the configuration must validate at once.
"""

import math
import re
from collections.abc import Mapping
from typing import Literal

from pydantic import Field, PositiveInt, field_validator

from models.features import CLASSES, EVAL_SPLIT, SPLITS, TEST_SPLIT, TRAIN_SPLIT
from models.settings import Settings

LabelSource = Literal["auto", "folder", "csv", "jsonl", "dicom", "sidecar"]

DEFAULT_ALIASES: Mapping[str, str] = {
    "healthy": "normal",
    "no finding": "normal",
    "bacteria": "bacterial",
    "bacterial pneumonia": "bacterial",
    "pneumonia/bacteria": "bacterial",
    "pneumonia/bacterial": "bacterial",
    "virus": "viral",
    "viral pneumonia": "viral",
    "pneumonia/virus": "viral",
    "pneumonia/viral": "viral",
    "covid-19": "covid",
    "covid19": "covid",
    "pneumonia/covid": "covid",
    "pneumonia/covid-19": "covid",
    "sars-cov-2": "covid",
}
"""Names that public data sets use, to the names of `models.features.CLASSES`."""


class DataSettings(Settings):
    """Ingestion: where labels come from, what is refused, how splits are made.

    Attributes:
        splits: relative shares of train, eval and test, all over 0; they need not add up to 100.
        split_salt: changes which patients fall into which split; also salts patient hashes.
        split_file: CSV of `key,split` that assigns the splits in place of the hash, for splits
            that are given (see `components.ingestion.split_table`); empty hashes. Copies of an
            image that is given for the test come to it.
        label_source: `auto` takes a labelled CSV or JSONL if there is one, else folders.
        label_file: the table to use, relative to the data root, where several would fit.
        filename_column, label_column, patient_column, source_column: names in the table
            (and keys in JSONL lines and sidecars); case does not matter.
        dicom_label_tag: keyword of the DICOM attribute that holds the label.
        patient_pattern: regular expression with one group that finds the patient in a file
            name, for sets that name files after patients; empty if they do not.
        class_aliases: further names for the four classes, `{"PNEU-B": "bacterial"}`.
        drop_unknown_labels: leave out images of other classes instead of stopping.
        max_bad_fraction: stop if more than this share of the inputs is refused.
        deduplicate: drop exact copies, and keep near copies on one side of the split;
            otherwise they are only reported.
        near_duplicate_bits: images whose perceptual hashes differ in at most this many of
            128 bits count as near copies; at most 7, which the search can guarantee to find.
        max_pixels: refuse larger images by their header, before decoding; at most what the
            edge build reads, which is measured on the same images.
        max_file_bytes: refuse larger files and archive members.
        min_side: refuse images whose shorter side has fewer pixels.
        min_grey_levels: refuse images with fewer distinct values (blank ones), and 16-bit
            images that use few of their bits and would come out dark; 1 refuses neither.
    """

    splits: dict[str, float] = Field(
        default_factory=lambda: {TRAIN_SPLIT: 64.0, EVAL_SPLIT: 16.0, TEST_SPLIT: 20.0}
    )
    split_salt: str = "coronet"
    split_file: str = ""
    label_source: LabelSource = "auto"
    label_file: str = ""
    filename_column: str = "filename"
    label_column: str = "label"
    patient_column: str = "patient_id"
    source_column: str = "source"
    dicom_label_tag: str = ""
    patient_pattern: str = ""
    class_aliases: dict[str, str] = Field(default_factory=dict)
    drop_unknown_labels: bool = False
    max_bad_fraction: float = Field(default=0.01, ge=0, le=1)
    deduplicate: bool = True
    near_duplicate_bits: int = Field(default=6, ge=0, le=7)
    max_pixels: int = Field(default=50_000_000, gt=0, le=50_000_000)
    max_file_bytes: PositiveInt = 256 * 1024 * 1024
    min_side: PositiveInt = 32
    min_grey_levels: PositiveInt = 32

    @field_validator("splits")
    @classmethod
    def _three_shares(cls, value: dict[str, float]) -> dict[str, float]:
        if set(value) != set(SPLITS):
            raise ValueError(f"name exactly the splits {', '.join(SPLITS)}; received {value}")
        if not all(0 < share < math.inf for share in value.values()):
            raise ValueError(f"every split needs a share, a number over 0; received {value}")
        return {name: value[name] for name in SPLITS}

    @field_validator("class_aliases")
    @classmethod
    def _to_known_classes(cls, value: dict[str, str]) -> dict[str, str]:
        for alias, name in value.items():
            if name not in CLASSES:
                raise ValueError(
                    f"alias {alias!r} must map to one of {', '.join(CLASSES)}; received {name!r}"
                )
        return value

    @field_validator("patient_pattern")
    @classmethod
    def _one_group(cls, value: str) -> str:
        if value:
            try:
                groups = re.compile(value).groups
            except re.error as error:
                raise ValueError(f"not a regular expression: {value!r} ({error})") from error
            if groups != 1:
                raise ValueError(f"{value!r} needs exactly one group, as in 'person([0-9]+)_'")
        return value

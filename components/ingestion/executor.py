"""What `XrayExampleGen` does: two passes over the images, both in Beam.

The first pass decodes every image, sets refused ones aside, keeps the examples in
intermediate shards and finds copies. The second routes the examples into their splits.
Image bytes never travel through a shuffle, and which shard an image is in depends on its
name alone, so the output is the same for any order and any number of workers.
"""

import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import tensorflow as tf
from apache_beam.metrics import Metrics
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils
from tfx.types.artifact import Artifact

from components.ingestion import archives, intermediate, perceptual_hash, quarantine, records
from components.ingestion.copies import Batch, FindCopies, Found, name_copies
from components.ingestion.discovery import Plan, discover, make_plan
from components.ingestion.duplicates import Copies, Kind, Member, Resolution, resolve
from components.ingestion.judgement import judge_inputs
from components.ingestion.labels import require_every_class
from components.ingestion.names import printable
from components.ingestion.reading import Reading
from components.ingestion.references import Reference
from components.ingestion.refusals import Refusal
from components.ingestion.settings import DataSettings
from components.ingestion.split_table import Assignment
from components.ingestion.splits import split_key, spread
from models import features
from models.errors import InputError

SHARD_IMAGES = 512  # the images a shard is meant for
MAX_SHARDS = 1024
METRICS = "coronet.ingestion"
REFUSED = "refused"
COPIES = "copies"
ACCEPTED = "accepted"
FINDINGS = "findings"


class Executor(base_beam_executor.BaseBeamExecutor):
    """Executor of `XrayExampleGen`."""

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Ingests the data root.

        Args:
            input_dict: empty.
            output_dict: `examples` (Examples) and `quarantine` (Quarantine).
            exec_properties: `data_root` and `settings_json` (a `DataSettings`).

        Raises:
            InputError: nothing usable, unknown labels, too many refused inputs, a class
                or a split without images.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        root = exec_properties["data_root"]
        settings = DataSettings.model_validate_json(exec_properties["settings_json"])
        examples = artifact_utils.get_single_instance(output_dict["examples"])
        refused = artifact_utils.get_single_instance(output_dict["quarantine"])
        workspace = os.path.join(self._get_tmp_dir(), "ingestion")
        fileio.makedirs(workspace)
        try:
            plan = make_plan(root, settings)
            shards = _shard_count(root, plan, settings)
            refusals, copies, accepted = self._first_pass(root, plan, settings, shards, workspace)
            assignment = Assignment(settings)
            resolution = resolve(copies, assignment, settings.deduplicate, assignment.given)
            refusals = sorted(refusals + resolution.refused, key=lambda one: one.path)
            judge_inputs(root, refusals, accepted - len(resolution.refused), settings)
            examples.split_names = artifact_utils.encode_split_names(list(features.SPLITS))
            counts, without_patient = self._second_pass(
                resolution, assignment, shards, workspace, examples
            )
            _judge_splits(root, counts, settings)
        finally:
            fileio.rmtree(workspace)
        quarantine.write(refused.uri, refusals, _summary(plan, counts, without_patient, resolution))
        refused.set_int_custom_property("refused", len(refusals))
        examples_utils.set_payload_format(examples, example_gen_pb2.FORMAT_TF_EXAMPLE)
        examples_utils.set_file_format(examples, "tfrecords_gzip")

    def _first_pass(
        self, root: str, plan: Plan, settings: DataSettings, shards: int, workspace: str
    ) -> tuple[list[Refusal], list[Copies], int]:
        """Writes the intermediate shards; returns refusals, copies and the images accepted."""
        with self._make_beam_pipeline() as pipeline:
            found = (
                pipeline
                | "Root" >> beam.Create([root])
                | "Discover" >> beam.ParDo(_Discover(plan, settings)).with_outputs(REFUSED)
            )
            read = (
                found[None]
                | "KeyByShard" >> beam.Map(_by_shard, shards)
                | "GroupByShard" >> beam.GroupByKey()
                | "Read"
                >> beam.ParDo(
                    _ReadShard(Reading(root, plan.kind, settings), workspace)
                ).with_outputs(REFUSED)
            )
            refused = (
                (found[REFUSED], read[REFUSED])
                | "AllRefused" >> beam.Flatten()
                | "CountRefused" >> beam.Map(_counted)
                | "DescribeRefused" >> beam.Map(lambda refusal: (REFUSED, refusal.to_dict()))
            )
            copies = (
                read[None]
                | FindCopies(settings.near_duplicate_bits)
                | "DescribeCopies" >> beam.Map(lambda found: (COPIES, found))
            )
            accepted = read[None] | "DescribeAccepted" >> beam.Map(
                lambda batch: (ACCEPTED, batch.images)
            )
            (
                (refused, copies, accepted)
                | "Findings" >> beam.Flatten()
                | "ToJson" >> beam.Map(json.dumps)
                | "WriteFindings" >> _write_lines(workspace, FINDINGS)
            )
        lines: dict[str, list[Any]] = {REFUSED: [], COPIES: [], ACCEPTED: []}
        for kind, line in _read_lines(workspace, FINDINGS):
            lines[kind].append(line)
        found = [Found(Kind(kind), tuple(places)) for kind, places in lines[COPIES]]
        members = intermediate.read_members(
            workspace, (at for copies in found for at in copies.places)
        )
        return (
            [Refusal(**line) for line in lines[REFUSED]],
            name_copies(found, members),
            sum(lines[ACCEPTED]),
        )

    def _second_pass(
        self,
        resolution: Resolution,
        assignment: Assignment,
        shards: int,
        workspace: str,
        examples: Artifact,
    ) -> tuple[Counter[tuple[str, str]], int]:
        """Writes the splits; returns the number of images by (split, class), and of how many
        the patient is unknown."""
        folders = {
            split: artifact_utils.get_split_uri([examples], split) for split in features.SPLITS
        }
        for folder in folders.values():
            fileio.makedirs(folder)
        with self._make_beam_pipeline() as pipeline:
            (
                pipeline
                | "Shards" >> beam.Create(range(shards))
                | beam.Reshuffle()
                | "Write"
                >> beam.ParDo(_WriteShard(resolution, assignment, shards, workspace, folders))
                | "Count" >> beam.combiners.Count.PerElement()
                | "CountsToJson" >> beam.Map(json.dumps)
                | "WriteCounts" >> _write_lines(workspace, "counts")
            )
        counts: Counter[tuple[str, str]] = Counter()
        without_patient = 0
        for (split, name, patient_known), count in _read_lines(workspace, "counts"):
            counts[split, name] += count
            without_patient += 0 if patient_known else count
        return counts, without_patient


class _Discover(beam.DoFn):
    """From the data root to its references; refused names go to the side output."""

    def __init__(self, plan: Plan, settings: DataSettings) -> None:
        self._plan = plan
        self._settings = settings

    def process(self, root: str) -> Iterator[Any]:
        for item in discover(root, self._plan, self._settings):
            yield beam.pvalue.TaggedOutput(REFUSED, item) if isinstance(item, Refusal) else item


class _ReadShard(beam.DoFn):
    """Decodes the images of one shard into intermediate files; yields a `Batch` of every few."""

    def __init__(self, reading: Reading, workspace: str) -> None:
        self._reading = reading
        self._workspace = workspace
        self._accepted = Metrics.counter(METRICS, ACCEPTED)

    def start_bundle(self) -> None:
        self._zips = archives.LastZip()

    def finish_bundle(self) -> None:
        self._zips.close()

    def process(self, shard: tuple[int, Iterable[bytes]]) -> Iterator[Any]:
        index, packed = shard
        rows = 0
        digests, hashes = bytearray(), bytearray()
        with (
            intermediate.Written(intermediate.examples_path(self._workspace, index)) as examples,
            intermediate.Written(intermediate.members_path(self._workspace, index)) as members,
        ):
            for item in self._reading.read(map(Reference.unpack, packed), self._zips):
                if isinstance(item, Refusal):
                    yield beam.pvalue.TaggedOutput(REFUSED, item)
                    continue
                assert item.label is not None  # plans are labelled
                examples.write(records.to_example(item).SerializeToString(deterministic=True))
                digest = item.radiograph.digest
                member = Member(item.name, split_key(item.patient, digest), item.label)
                members.write(intermediate.pack_member(member))
                self._accepted.inc()
                rows += 1
                digests += bytes.fromhex(digest)
                hashes += perceptual_hash.perceptual_hash(item.radiograph.pixels)
                if rows % SHARD_IMAGES == 0:  # a tar archive is one shard, however long
                    yield Batch(index, rows - SHARD_IMAGES, bytes(digests), bytes(hashes))
                    digests, hashes = bytearray(), bytearray()
        if digests:
            yield Batch(index, rows - rows % SHARD_IMAGES, bytes(digests), bytes(hashes))


class _WriteShard(beam.DoFn):
    """Routes the examples of one shard into the splits.

    Yields (split, class, whether the patient is known) for each.
    """

    def __init__(
        self,
        resolution: Resolution,
        assignment: Assignment,
        shards: int,
        workspace: str,
        folders: dict[str, str],
    ) -> None:
        self._left_out = frozenset(refusal.path for refusal in resolution.refused)
        self._same_split = resolution.same_split
        self._assignment = assignment
        self._shards = shards
        self._workspace = workspace
        self._folders = folders

    def process(self, shard: int) -> Iterator[tuple[str, str, bool]]:
        paths = {split: self._path(split, shard) for split in features.SPLITS}
        with (
            intermediate.Written(paths[features.TRAIN_SPLIT], "GZIP") as train,
            intermediate.Written(paths[features.EVAL_SPLIT], "GZIP") as evaluation,
            intermediate.Written(paths[features.TEST_SPLIT], "GZIP") as test,
        ):
            files = dict(zip(features.SPLITS, (train, evaluation, test), strict=True))
            for serialized in intermediate.read(intermediate.examples_path(self._workspace, shard)):
                example = tf.train.Example.FromString(serialized)
                if records.text(example, features.FILENAME) in self._left_out:
                    continue
                patient = records.text(example, features.PATIENT)
                split = self._split(example, patient)
                files[split].write(serialized)
                yield split, features.CLASSES[records.label(example)], bool(patient)

    def _split(self, example: tf.train.Example, patient: str) -> str:
        key = split_key(patient, records.text(example, features.DIGEST))
        # A table has to name every image, not only those that others follow.
        named = self._assignment(key) is not None
        split = self._assignment(self._same_split.get(key, key)) if named else None
        if split is None:
            name = records.text(example, features.FILENAME)
            raise InputError(
                f"{self._assignment.table} names no split for {name} (key {key}): add it, "
                "or leave data.split_file empty"
            )
        return split

    def _path(self, split: str, shard: int) -> str:
        return os.path.join(
            self._folders[split], f"data_tfrecord-{shard:05d}-of-{self._shards:05d}.gz"
        )


def _shard_count(root: str, plan: Plan, settings: DataSettings) -> int:
    images = sum(1 for _ in discover(root, plan, settings))
    return min(max(1, math.ceil(images / SHARD_IMAGES)), MAX_SHARDS)


def _by_shard(reference: Reference, shards: int) -> tuple[int, bytes]:
    # A tar archive can only be read from front to back: all of it belongs to one shard.
    whole = reference.member and not archives.is_zip(reference.container)
    return spread(reference.container if whole else reference.name, shards), reference.pack()


def _counted(refusal: Refusal) -> Refusal:
    Metrics.counter(METRICS, f"refused_{refusal.reason}").inc()
    return refusal


def _write_lines(workspace: str, name: str) -> beam.PTransform:
    return beam.io.WriteToText(os.path.join(workspace, name), file_name_suffix=".jsonl")


def _read_lines(workspace: str, name: str) -> Iterator[Any]:
    for path in sorted(fileio.glob(os.path.join(workspace, f"{name}-*.jsonl"))):
        with fileio.open(path, "r") as file:
            for line in file:
                yield json.loads(line)


def _judge_splits(root: str, counts: Counter[tuple[str, str]], settings: DataSettings) -> None:
    """Stops the run if a class or a split came out empty.

    Raises:
        InputError: see `Executor.Do`.
    """
    per_class: Counter[str] = Counter()
    per_split: Counter[str] = Counter()
    for (split, name), count in counts.items():
        per_class[name] += count
        per_split[split] += count
    require_every_class(per_class, root)
    empty = [split for split in features.SPLITS if not per_split[split]]
    # The optimizer must see every class, and a gate says nothing about one that it does not see.
    missing = [
        f"the {split} split has no image of {name}"
        for split in (features.TRAIN_SPLIT, features.TEST_SPLIT)
        for name in features.CLASSES
        if not counts[split, name]
    ]
    if empty or missing:
        what = f"split {', '.join(empty)} is empty" if empty else ", ".join(missing)
        cure = (
            f"assign some in {printable(settings.split_file)}"
            if settings.split_file
            else "choose another data.split_salt or other data.splits"
        )
        raise InputError(
            f"{printable(root)}: {what} ({counts.total()} images of few patients): add images, "
            f"or {cure}"
        )


def _summary(
    plan: Plan,
    counts: Counter[tuple[str, str]],
    without_patient: int,
    resolution: Resolution,
) -> dict[str, object]:
    return {
        "label_source": plan.kind,
        "tables": list(plan.tables),
        "notes": list(plan.notes),
        "images": counts.total(),
        "images_without_patient": without_patient,
        "splits": {
            split: {name: counts[split, name] for name in features.CLASSES}
            for split in features.SPLITS
        },
        "duplicates": resolution.summary,
    }

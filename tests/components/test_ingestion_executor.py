"""The component as a whole: folders in, tf.Examples and a quarantine out."""

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.ingestion.settings import DataSettings
from models import features
from models.errors import InputError
from models.features import CLASSES, SPLITS

SETTINGS = DataSettings()


@pytest.fixture
def ingest(tmp_path: Path):
    """A function (root, settings) that runs the executor; returns its two artifacts."""
    from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
    from tfx.types import standard_artifacts

    from components.artifacts import Quarantine
    from components.ingestion.executor import Executor

    runs = iter(range(100))

    def run(root: Path | str, settings: DataSettings = SETTINGS):
        folder = tmp_path / f"run{next(runs)}"
        examples, quarantine = standard_artifacts.Examples(), Quarantine()
        examples.uri, quarantine.uri = str(folder / "examples"), str(folder / "quarantine")
        context = BaseBeamExecutor.Context(tmp_dir=str(folder / "tmp"), unique_id="1")
        Executor(context).Do(
            {},
            {"examples": [examples], "quarantine": [quarantine]},
            {"data_root": str(root), "settings_json": settings.model_dump_json()},
        )
        left = [path for path in (folder / "tmp").rglob("*") if path.is_file()]
        assert left == []
        return examples, quarantine

    return run


def read_split(examples: Any, split: str) -> list[dict[str, Any]]:
    import tensorflow as tf

    paths = sorted(str(path) for path in Path(examples.uri, f"Split-{split}").glob("*.gz"))
    found = []
    for record in tf.data.TFRecordDataset(paths, compression_type="GZIP").as_numpy_iterator():
        example = tf.train.Example.FromString(record)
        found.append(
            {
                key: (value.bytes_list.value or value.int64_list.value)[0]
                for key, value in example.features.feature.items()
            }
        )
    return found


def read_all(examples: Any) -> list[dict[str, Any]]:
    return [row for split in SPLITS for row in read_split(examples, split)]


def summary(quarantine: Any) -> dict[str, Any]:
    return json.loads(Path(quarantine.uri, "summary.json").read_text())


def refused(quarantine: Any) -> dict[str, str]:
    lines = Path(quarantine.uri, "quarantine.jsonl").read_text().splitlines()
    return {line["path"]: line["reason"] for line in map(json.loads, lines)}


def contents(artifact: Any) -> dict[str, bytes]:
    root = Path(artifact.uri)
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_every_image_is_in_one_split_with_every_feature(class_folders, ingest):
    from tfx.components.util import examples_utils
    from tfx.proto import example_gen_pb2

    root = class_folders(10)
    examples, quarantine = ingest(root)
    rows = read_all(examples)
    names = [row[features.FILENAME].decode() for row in rows]
    assert sorted(names) == sorted(str(path.relative_to(root)) for path in root.rglob("*.jpeg"))
    for row in rows:
        name = row[features.FILENAME].decode()
        assert row[features.IMAGE] == (root / name).read_bytes()
        assert CLASSES[row[features.LABEL]] == name.split("/")[0]
        assert (row[features.HEIGHT], row[features.WIDTH]) == (64, 80)
        assert row[features.SIZE_BUCKET].decode() == features.SIZE_BUCKETS[0]
        assert row[features.SOURCE] == b"unknown"
        assert row[features.PATIENT] == b""
        assert len(row[features.DIGEST]) == 64
    assert json.loads(examples.split_names) == list(SPLITS)
    assert examples_utils.get_payload_format(examples) == example_gen_pb2.FORMAT_TF_EXAMPLE
    assert quarantine.get_int_custom_property("refused") == 0
    counts = summary(quarantine)["splits"]
    assert {name: sum(counts[split][name] for split in SPLITS) for name in CLASSES} == (
        dict.fromkeys(CLASSES, 10)
    )
    assert all(len(read_split(examples, split)) for split in SPLITS)
    assert summary(quarantine)["images_without_patient"] == 40


def test_the_same_bytes_whatever_the_order_and_the_number_of_workers(
    tmp_path, class_folders, ingest, monkeypatch
):
    from components.ingestion import discovery, executor

    root = class_folders(10)
    first = [contents(artifact) for artifact in ingest(root)]
    walk = discovery.storage.walk
    monkeypatch.setattr(discovery.storage, "walk", lambda path: reversed(list(walk(path))))
    assert [contents(artifact) for artifact in ingest(root)] == first
    # With other shards the files differ, and the splits do not.
    monkeypatch.setattr(executor, "SHARD_IMAGES", 7)
    sharded, _ = ingest(root)
    assert len(list(Path(sharded.uri, "Split-train").iterdir())) > 1
    monkeypatch.setattr(executor, "SHARD_IMAGES", 512)
    whole, _ = ingest(root)
    for split in SPLITS:
        one, other = (
            {row[features.FILENAME] for row in read_split(examples, split)}
            for examples in (sharded, whole)
        )
        assert one == other


def test_no_patient_and_no_copy_is_on_two_sides(tmp_path, xray, encode, ingest):
    """60 patients with two images each; some copied, under another patient's name."""
    root = tmp_path / "data"
    (root / "train").mkdir(parents=True)
    lines = ["filename,label,patient_id,source"]
    for index in range(120):
        image = xray(index)
        (root / "train" / f"{index}.png").write_bytes(encode(image))
        lines.append(f"{index}.png,{CLASSES[index // 2 % 4]},p{index // 2},a")
        if index % 10 == 0:
            near = encode(image, "JPEG", quality=70)
            (root / "train" / f"near{index}.jpeg").write_bytes(near)
            lines.append(f"near{index}.jpeg,{CLASSES[index // 2 % 4]},q{index},b")
    (root / "train" / "copy.png").write_bytes(encode(xray(7), compress_level=1))
    lines.append(f"copy.png,{CLASSES[3]},r,b")
    (root / "train" / "conflict.png").write_bytes(encode(xray(9), compress_level=1))
    lines.append(f"conflict.png,{CLASSES[(9 // 2 + 1) % 4]},s,b")
    (root / "train.csv").write_text("\n".join(lines))
    # The two that contradict each other are more than 1% of so few. The default salt puts none
    # of the 15 viral patients into the test split.
    salt = "copies"
    examples, quarantine = ingest(root, DataSettings(max_bad_fraction=0.05, split_salt=salt))
    sides: dict[bytes, set[str]] = {}
    images: dict[str, str] = {}
    for split in SPLITS:
        for row in read_split(examples, split):
            sides.setdefault(row[features.PATIENT], set()).add(split)
            images[row[features.FILENAME].decode()] = split
    assert all(len(where) == 1 for where in sides.values())
    for index in range(0, 120, 10):
        assert images[f"train/{index}.png"] == images[f"train/near{index}.jpeg"]
    assert refused(quarantine) == {
        "train/copy.png": "exact_copy",
        "train/9.png": "conflicting_labels",
        "train/conflict.png": "conflicting_labels",
    }
    duplicates = summary(quarantine)["duplicates"]
    assert duplicates["exact_groups"] == 2
    assert duplicates["near_groups"] == 12
    assert duplicates["groups_across_splits"] > 0
    assert "moved_from_given_split" not in duplicates
    assert summary(quarantine)["images_without_patient"] == 0
    raw, _ = ingest(root, DataSettings(deduplicate=False, split_salt=salt))
    assert len(read_all(raw)) == len(lines) - 1


def test_patients_and_dicom_headers_do_not_reach_the_output(tmp_path, class_folders, ingest):
    from pydicom import dcmread
    from pydicom.data import get_testdata_file

    root = class_folders(6)
    dataset = dcmread(str(get_testdata_file("MR_small.dcm")))
    dataset.PatientName, dataset.PatientID = "Secret^Name", "MRN-0815"
    dataset.save_as(root / "covid" / "IM0001")
    examples, quarantine = ingest(root)
    (row,) = (row for row in read_all(examples) if row[features.FILENAME] == b"covid/IM0001")
    assert len(row[features.PATIENT]) == 16
    everything = b"".join(
        [value for row in read_all(examples) for value in row.values() if isinstance(value, bytes)]
        + list(contents(quarantine).values())
    )
    for secret in (b"Secret", b"MRN-0815", str(dataset.StudyInstanceUID).encode()):
        assert secret not in everything


def test_refused_inputs_are_set_aside_and_counted(class_folders, ingest):
    root = class_folders(10)
    (root / "normal" / "broken.jpeg").write_bytes(b"\xff\xd8\xff broken")
    (root / "viral" / '=HYPERLINK("http:x")<script>.png').write_bytes(b"text")
    (root / "covid" / "empty.png").write_bytes(b"")
    examples, quarantine = ingest(root, DataSettings(max_bad_fraction=0.1))
    assert len(read_all(examples)) == 40
    assert refused(quarantine) == {
        "normal/broken.jpeg": "damaged_image",
        'viral/=HYPERLINK("http:x")<script>.png': "not_an_image",
        "covid/empty.png": "empty_file",
    }
    assert summary(quarantine)["refused"] == {
        "damaged_image": 1,
        "empty_file": 1,
        "not_an_image": 1,
    }
    assert quarantine.get_int_custom_property("refused") == 3
    with Path(quarantine.uri, "quarantine.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [line["path"] for line in table] == sorted(refused(quarantine))


def test_formulas_in_the_quarantine_table_are_defused(tmp_path):
    from components.ingestion import quarantine
    from components.ingestion.refusals import Refusal

    quarantine.write(str(tmp_path), [Refusal("=cmd|'/c calc'!A1", "not_an_image", "+1")], {})
    (row,) = list(csv.reader((tmp_path / "quarantine.csv").open(newline="")))[1:]
    assert row[0].startswith("'=")
    assert row[2] == "'+1"


def test_too_many_bad_inputs_stop_the_run_with_the_list(class_folders, ingest):
    root = class_folders(10)
    for index in range(3):
        (root / "normal" / f"broken{index}.png").write_bytes(b"broken")
    with pytest.raises(InputError) as error:
        ingest(root)
    message = str(error.value)
    assert "3 of 43 inputs" in message
    assert "max_bad_fraction = 0.01" in message
    assert all(f"normal/broken{index}.png: not_an_image" in message for index in range(3))


def test_the_limit_itself_is_allowed(class_folders, ingest):
    root = class_folders(10)
    (root / "normal" / "broken.png").write_bytes(b"broken")
    ingest(root, DataSettings(max_bad_fraction=1 / 41))
    with pytest.raises(InputError, match="1 of 41"):
        ingest(root, DataSettings(max_bad_fraction=0.99 / 41))


def test_a_lost_archive_stops_the_run(class_folders, ingest, xray, encode):
    """One input of 41, which would pass under the limit: it held half of the images."""
    import io
    import tarfile

    root = class_folders(10)
    path = root / "covid" / "more.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for seed in range(40):
            data = encode(xray(5000 + seed))
            info = tarfile.TarInfo(f"{seed}.png")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 9 // 10])
    with pytest.raises(InputError, match=r"(?s)whole archives .*covid/more\.tar\.gz: damaged"):
        ingest(root, DataSettings(max_bad_fraction=0.5))


def test_unknown_labels_inside_archives_stop_the_run(class_folders, ingest, xray, encode):
    import io
    import tarfile

    root = class_folders(10)
    data = encode(xray(99))
    with tarfile.open(root / "more.tar", "w") as archive:
        info = tarfile.TarInfo("tuberculosis/a.png")
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    with pytest.raises(InputError, match="1  tuberculosis"):
        ingest(root)
    examples, quarantine = ingest(root, DataSettings(drop_unknown_labels=True))
    assert len(read_all(examples)) == 40
    assert refused(quarantine) == {"more.tar/tuberculosis/a.png": "unknown_label"}


def test_a_split_without_images_is_named(class_folders, ingest):
    with pytest.raises(InputError, match=r"few patients.*data.split_salt"):
        ingest(class_folders(1))


def test_a_class_whose_images_are_all_refused_is_named(class_folders, ingest):
    root = class_folders(10)
    for path in (root / "covid").iterdir():
        path.write_bytes(b"broken")
    with pytest.raises(InputError, match="no image of class covid"):
        ingest(root, DataSettings(max_bad_fraction=1))


def test_nothing_readable_at_all(class_folders, ingest):
    root = class_folders(3)
    for path in root.rglob("*.jpeg"):
        path.write_bytes(b"broken")
    with pytest.raises(InputError, match="12 of 12 inputs"):
        ingest(root)


def test_names_that_are_not_text_are_ingested(class_folders, ingest, xray, encode):
    root = class_folders(10)
    for number, name in enumerate((b"caf\xe9.png", b"new\nline.png", "نص.png".encode())):
        with open(bytes(root / "normal") + b"/" + name, "wb") as file:
            file.write(encode(xray(500 + number)))
    examples, _ = ingest(root)
    names = {row[features.FILENAME].decode() for row in read_all(examples)}
    assert {"normal/caf\\udce9.png", "normal/new\\nline.png", "normal/نص.png"} <= names


def test_beam_counts_refusals_by_reason(class_folders, ingest, monkeypatch):
    import apache_beam as beam

    results = []
    run = beam.Pipeline.run

    def recorded(self, *arguments, **options):
        results.append(run(self, *arguments, **options))
        return results[-1]

    monkeypatch.setattr(beam.Pipeline, "run", recorded)
    root = class_folders(10)
    for index in range(2):
        (root / "normal" / f"broken{index}.png").write_bytes(b"broken")
    ingest(root, DataSettings(max_bad_fraction=0.5))
    counters = Counter()
    for result in results:
        for counter in result.metrics().query()["counters"]:
            counters[counter.key.metric.name] += counter.committed
    assert counters["refused_not_an_image"] == 2
    assert counters["accepted"] == 40


def test_the_component_declares_what_the_executor_writes():
    from components.ingestion.component import XrayExampleGen

    node = XrayExampleGen(data_root="x", settings_json="{}", data_fingerprint="1")
    assert set(node.outputs) == {"examples", "quarantine"}
    assert node.exec_properties["data_fingerprint"] == "1"


def test_images_decode_to_the_digest(class_folders, ingest):
    import hashlib
    import struct

    from models import image_ops

    examples, _ = ingest(class_folders(6))
    for row in read_all(examples)[:5]:
        pixels = image_ops.decode(row[features.IMAGE]).numpy()[..., 0]
        size = struct.pack("<II", *pixels.shape)
        expected = hashlib.sha256(size + np.ascontiguousarray(pixels).tobytes()).hexdigest()
        assert row[features.DIGEST].decode() == expected


def test_given_splits_go_over_the_hash(ingest, sample_folder: Path, tmp_path: Path) -> None:
    with (sample_folder / "train.csv").open() as file:
        # In turns within a class, so that each of the three COVID patients is in another split.
        patients = sorted({(row["label"], row["patient_id"]) for row in csv.DictReader(file)})
    from components.ingestion.splits import patient_hash

    wanted = {
        patient_hash(patient, SETTINGS.split_salt): SPLITS[number % 3]
        for number, (_, patient) in enumerate(patients)
    }
    table = tmp_path / "splits.csv"
    table.write_text("key,split\n" + "".join(f"{key},{split}\n" for key, split in wanted.items()))
    settings = DataSettings(split_file=str(table), deduplicate=False)
    examples, _ = ingest(sample_folder, settings)
    found = {
        example[features.PATIENT].decode(): split
        for split in SPLITS
        for example in read_split(examples, split)
    }
    assert found == wanted

    without = {
        example[features.PATIENT].decode(): "train"
        for example in read_all(examples)
        if features.CLASSES[example[features.LABEL]] == "covid"
    }
    rows = {**wanted, **without}.items()
    table.write_text("key,split\n" + "".join(f"{key},{split}\n" for key, split in rows))
    with pytest.raises(InputError, match=r"no image of covid.*assign some in .*splits.csv"):
        ingest(sample_folder, settings)

    table.write_text("key,split\nsomebody,train\n")
    with pytest.raises(InputError, match="names no split for"):
        ingest(sample_folder, settings)


def test_what_is_given_for_the_test_stays_there(class_folders, ingest, xray, encode, tmp_path):
    """Near copies of training images in somebody's test set; the table is as Excel saves it."""
    from components.ingestion.readers import read

    root = class_folders(7)
    given = {
        f"{name}/{index:03d}.jpeg": SPLITS[index % 3] for name in CLASSES for index in range(7)
    }
    copies = {f"{name}/near{index}.jpeg": (name, index) for name in CLASSES for index in (0, 3)}
    for copy, (name, index) in copies.items():
        picture = encode(xray(1000 * CLASSES.index(name) + index), "JPEG", quality=60)
        (root / copy).write_bytes(picture)
        given[copy] = "test"
    keys = {name: read((root / name).read_bytes(), SETTINGS).digest for name in given}
    table = tmp_path / "splits.csv"
    lines = "".join(f"{keys[name]},{split}\n" for name, split in given.items())
    table.write_text(f"key,split\n{lines}", encoding="utf-8-sig")
    examples, quarantine = ingest(root, DataSettings(split_file=str(table)))
    found = {
        row[features.FILENAME].decode(): split
        for split in SPLITS
        for row in read_split(examples, split)
    }
    moved = {name: "test" for name in found if name.endswith(("000.jpeg", "003.jpeg"))}
    assert found == {**given, **moved}
    duplicates = summary(quarantine)["duplicates"]
    assert duplicates["moved_from_given_split"] == len(moved) == 8
    assert duplicates["moved_images"] == sorted(moved)

    # A copy has to be named too, though it would follow another image.
    named = lines.replace(f"{keys['covid/near0.jpeg']},test\n", "")
    table.write_text(f"key,split\n{named}")
    with pytest.raises(InputError, match=r"names no split for covid/near0\.jpeg"):
        ingest(root, DataSettings(split_file=str(table)))

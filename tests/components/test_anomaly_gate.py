"""Anomalies stop the run, with their text; and our schema finds what it is meant to find."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from models import features
from models.errors import InputError
from models.features import CLASSES, SPLITS


def example(label: int = 0, number: int = 0, **changes: Any) -> Any:
    """A raw tf.Example that fits the schema, but for `changes` (None removes a feature)."""
    import tensorflow as tf

    values: dict[str, Any] = {
        features.IMAGE: b"\x89PNG" + bytes([number % 256, 255, 128]),
        features.LABEL: label,
        features.FILENAME: f"{number}.png".encode(),
        features.PATIENT: b"",
        features.SOURCE: b"here",
        features.SIZE_BUCKET: features.SIZE_BUCKETS[0].encode(),
        features.DIGEST: f"{number}".encode(),
        features.HEIGHT: 100 + number,
        features.WIDTH: 120 + number,
        **changes,
    }
    result = tf.train.Example()
    for key, value in values.items():
        if isinstance(value, bytes):
            result.features.feature[key].bytes_list.value.append(value)
        elif value is not None:
            result.features.feature[key].int64_list.value.append(value)
    return result


@pytest.fixture
def gate(tmp_path: Path):
    """A function (examples per split) through TFX's own ExampleValidator to our gate."""
    import tensorflow as tf
    import tensorflow_data_validation as tfdv
    from tfx.components.example_validator.executor import Executor as Validator
    from tfx.types import artifact_utils, standard_artifacts

    from components.anomaly_gate.executor import Executor
    from components.artifacts import DataVerdict
    from components.ingestion.schema import SCHEMA_FILE

    schema = standard_artifacts.Schema()
    schema.uri = str(tmp_path / "schema")
    Path(schema.uri).mkdir()
    Path(schema.uri, "schema.pbtxt").write_text(Path(SCHEMA_FILE).read_text())

    def describe(name: str, splits: dict[str, list[Any]]) -> Any:
        statistics = standard_artifacts.ExampleStatistics()
        statistics.id = 7
        statistics.uri = str(tmp_path / name)
        statistics.split_names = artifact_utils.encode_split_names(list(splits))
        options = tfdv.StatsOptions(schema=tfdv.load_schema_text(SCHEMA_FILE))
        for split, examples in splits.items():
            path = str(tmp_path / f"{name}-{split}.tfrecord")
            with tf.io.TFRecordWriter(path) as file:
                for one in examples:
                    file.write(one.SerializeToString())
            folder = Path(statistics.uri, f"Split-{split}")
            folder.mkdir(parents=True)
            found = tfdv.generate_statistics_from_tfrecord(path, stats_options=options)
            (folder / "FeatureStats.pb").write_bytes(found.SerializeToString())
        return statistics

    def run(
        splits: dict[str, list[Any]],
        drift: bool = False,
        previous: dict[str, list[Any]] | None = None,
    ) -> dict[str, Any]:
        statistics = describe("statistics", splits)
        anomalies, verdict = standard_artifacts.ExampleAnomalies(), DataVerdict()
        anomalies.uri, verdict.uri = str(tmp_path / "anomalies"), str(tmp_path / "verdict")
        Validator().Do(
            {"statistics": [statistics], "schema": [schema]}, {"anomalies": [anomalies]}, {}
        )
        inputs = {"anomalies": [anomalies]}
        if drift:
            inputs |= {"statistics": [statistics], "schema": [schema]}
        if previous:
            inputs["previous_statistics"] = [describe("previous", previous)]
        Executor().Do(inputs, {"verdict": [verdict]}, {})
        assert verdict.get_int_custom_property("statistics_id") == (7 if drift else 0)
        return json.loads(Path(verdict.uri, "verdict.json").read_text())

    return run


def balanced(count: int = 12) -> list[Any]:
    return [example(index % 4, index) for index in range(count)]


def test_good_data_passes(gate):
    verdict = gate({"train": balanced(), "eval": balanced(8)})
    assert verdict == {"warnings": [], "distances": [], "previous": False}


BROKEN = (
    ({features.LABEL: 4}, r"eval, label: .*\b4\b"),
    ({features.HEIGHT: 0}, "eval, height: .*0"),
    ({features.WIDTH: 99_999}, "eval, width: .*99999"),
    ({features.SIZE_BUCKET: b"huge"}, "eval, size_bucket: Unexpected string values: .*huge"),
    ({features.SOURCE: None}, "eval, source: .*minimum fraction = 1.000000"),
    ({"surprise": 1}, "eval, surprise: New column"),
)


def test_anomalies_stop_the_run_with_their_text(gate):
    broken = [example(number=20 + index, **changes) for index, (changes, _) in enumerate(BROKEN)]
    with pytest.raises(InputError) as error:
        gate({"train": balanced(), "eval": balanced(8) + broken})
    for _, words in BROKEN:
        assert re.search(words, str(error.value)), words
    assert "train," not in str(error.value)


def test_drifting_classes_are_a_warning(gate):
    skewed = [example(3, index) for index in range(12)]
    verdict = gate({"train": balanced(), "eval": skewed}, drift=True)
    (warning,) = verdict["warnings"]
    assert (warning["split"], warning["feature"]) == ("eval against train", "label")
    assert "0.75" in warning["detail"]


def test_distances_are_told_whether_they_warn_or_not(gate):
    """The largest difference of a share, against its definition."""
    labels = [0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 3]
    changed = [example(label, number) for number, label in enumerate(labels)]
    verdict = gate({"train": balanced(), "eval": changed}, drift=True)
    measured = {distance["feature"]: distance for distance in verdict["distances"]}
    assert set(measured) == {"label", "source", "size_bucket"}
    share = [labels.count(label) / len(labels) for label in range(4)]
    expected = max(abs(one - 0.25) for one in share)
    assert measured["label"]["value"] == pytest.approx(expected)
    assert measured["label"]["threshold"] == 0.15
    assert measured["source"]["value"] == 0
    assert {distance["sets"] for distance in measured.values()} == {"eval against train"}
    assert [warning["feature"] for warning in verdict["warnings"]] == ["label"]


def test_drift_since_the_run_before_is_a_warning(gate):
    """Another hospital with larger images took over; the splits of each run are alike."""
    before = [example(index % 4, index) for index in range(40)]
    now = [
        example(
            index % 4,
            index,
            **{
                features.SOURCE: b"elsewhere",
                features.HEIGHT: 900 + index,
                features.SIZE_BUCKET: features.SIZE_BUCKETS[-1].encode(),
            },
        )
        for index in range(40)
    ]
    verdict = gate(
        {"train": now, "eval": now}, drift=True, previous={"train": before, "eval": before}
    )
    assert verdict["previous"]
    warnings = {(warning["split"], warning["feature"]) for warning in verdict["warnings"]}
    sets = "train against the run before"
    assert warnings == {(sets, "source"), (sets, "size_bucket")}
    measured = {
        distance["feature"]: distance["value"]
        for distance in verdict["distances"]
        if distance["sets"] == sets
    }
    assert measured["source"] == measured["size_bucket"] == 1
    assert measured["label"] == 0


def test_one_odd_image_among_equal_sizes_is_no_drift(gate):
    train = [example(i % 4, i, **{features.HEIGHT: 240, features.WIDTH: 250}) for i in range(40)]
    odd = example(0, 99, **{features.HEIGHT: 60, features.WIDTH: 70})
    verdict = gate({"train": [*train, odd], "eval": train}, drift=True)
    assert verdict["warnings"] == []


def test_the_schema_agrees_with_the_feature_names_and_limits():
    import tensorflow_data_validation as tfdv

    from components.ingestion.limits import MAX_SIDE
    from components.ingestion.schema import SCHEMA_FILE

    schema = tfdv.load_schema_text(SCHEMA_FILE)
    found = {feature.name: feature for feature in schema.feature}
    assert set(found) == {
        features.IMAGE,
        features.LABEL,
        features.FILENAME,
        features.PATIENT,
        features.SOURCE,
        features.SIZE_BUCKET,
        features.DIGEST,
        features.HEIGHT,
        features.WIDTH,
    }
    label = found[features.LABEL]
    assert (label.int_domain.min, label.int_domain.max) == (0, len(CLASSES) - 1)
    tags = [f"{index}: {name}" for index, name in enumerate(CLASSES)]
    assert list(label.annotation.tag) == tags
    assert tuple(found[features.SIZE_BUCKET].string_domain.value) == features.SIZE_BUCKETS
    # Whatever data.min_side is set to, the gate must not refuse what ingestion accepted.
    for side in (features.HEIGHT, features.WIDTH):
        assert (found[side].int_domain.min, found[side].int_domain.max) == (1, MAX_SIDE)
    assert found[features.IMAGE].HasField("image_domain")


def test_the_component_needs_anomalies_only():
    from tfx.types import standard_artifacts
    from tfx.types.channel_utils import as_channel

    from components.anomaly_gate.component import AnomalyGate

    anomalies = standard_artifacts.ExampleAnomalies()
    anomalies.split_names = json.dumps(list(SPLITS))
    node = AnomalyGate(anomalies=as_channel([anomalies]))
    assert list(node.outputs) == ["verdict"]

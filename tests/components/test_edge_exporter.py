"""The exporter: all three classifiers, builtins only, and a converter that dies."""

import json
from pathlib import Path

import numpy as np
import pytest

from components.edge_exporter import process
from components.edge_exporter.build_request import Request
from components.edge_exporter.settings import EdgeSettings
from edge import Classifier, metadata
from models.features import CLASSES, DISCLAIMER, IMAGE_XF, LABEL, PROBABILITIES, SCORES

SIDE = 32


@pytest.fixture(scope="module")
def images() -> tuple[np.ndarray, np.ndarray]:
    """Preprocessed phantoms, uint8 [N, SIDE, SIDE, 1], and their labels."""
    import cv2

    from pipeline.sample import draw_phantoms

    drawn = list(draw_phantoms(60, seed=5))
    pixels = [cv2.resize(one.pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for one in drawn]
    labels = np.array([CLASSES.index(one.label) for one in drawn])
    return np.stack(pixels)[..., np.newaxis], labels


def write_examples(path: Path, images: np.ndarray, labels: np.ndarray) -> list[str]:
    import tensorflow as tf

    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path), options="GZIP") as writer:
        for image, label in zip(images, labels, strict=True):
            encoded = tf.io.encode_png(image).numpy()
            features = {
                IMAGE_XF: tf.train.Feature(bytes_list=tf.train.BytesList(value=[encoded])),
                LABEL: tf.train.Feature(int64_list=tf.train.Int64List(value=[int(label)])),
            }
            example = tf.train.Example(features=tf.train.Features(feature=features))
            writer.write(example.SerializeToString())
    return [str(path)]


def train(name: str, folder: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """Writes what the Trainer writes, after a few seconds of training."""
    import keras

    from models.classifier import as_classifier, build_network
    from models.preprocessing import ResolvedPreprocessing
    from models.settings import CoronetSettings, MlpSettings, SvmSettings

    settings = {
        "svm": SvmSettings(),
        "mlp": MlpSettings(hidden=(32, 16), activations=("sigmoid", "relu")),
        "coronet": CoronetSettings(dense_units=16),
    }[name]
    keras.utils.set_random_seed(3)
    network = build_network(settings, (SIDE, SIDE))
    loss = (
        keras.losses.CategoricalHinge() if name == "svm" else keras.losses.CategoricalCrossentropy()
    )
    network.compile(optimizer=keras.optimizers.Adam(1e-3), loss=loss)
    epochs = 2 if name == "coronet" else 30
    network.fit(images / np.float32(255), np.eye(len(CLASSES))[labels], epochs=epochs, verbose=0)
    folder.mkdir(parents=True)
    temperature = 0.7 if name == "svm" else None
    as_classifier(network, temperature).save(folder / "classifier.keras")
    preprocessing = ResolvedPreprocessing(method="A", height=SIDE, width=SIDE, clahe=False)
    description = {
        "name": name,
        "classes": list(CLASSES),
        "preprocessing": preprocessing.to_dict(),
        "flip_at_test": name == "mlp",
    }
    (folder / "model.json").write_text(json.dumps(description))


@pytest.fixture(scope="module", params=["svm", "mlp", "coronet"])
def request_of(request, images, tmp_path_factory) -> Request:
    """An export request whose model is trained, and built: `output` holds the files."""
    from components.edge_exporter.build import build

    folder = tmp_path_factory.mktemp(request.param)
    pixels, labels = images
    train(request.param, folder / "model", pixels[:45], labels[:45])
    (folder / "output").mkdir()
    made = Request(
        model=str(folder / "model"),
        train_records=write_examples(folder / "train.gz", pixels[:45], labels[:45]),
        eval_records=write_examples(folder / "eval.gz", pixels[45:], labels[45:]),
        settings=EdgeSettings(
            calibration_images=45, further_variants=("float32",)
        ).model_dump_json(),
        output=str(folder / "output"),
    )
    build(made)
    return made


def test_float32_is_keras_and_int8_close(request_of: Request, images):
    import keras
    from ai_edge_litert.interpreter import Interpreter

    network = keras.models.load_model(Path(request_of.model, "classifier.keras"), compile=False)
    flips = json.loads(Path(request_of.model, "model.json").read_text())["flip_at_test"]
    unit = images[0][45:] / np.float32(255)
    views = [unit, unit[:, :, ::-1]] if flips else [unit]
    outputs = [network(view) for view in views]
    tolerances = {"model_float32.tflite": 1e-3, "model.tflite": 0.1}
    for file, tolerance in tolerances.items():
        model = Interpreter(model_path=str(Path(request_of.output, file))).get_signature_runner()
        found = [model(image=image[np.newaxis]) for image in images[0][45:]]
        expected = np.mean([one[PROBABILITIES].numpy() for one in outputs], axis=0)
        probabilities = np.concatenate([one["probabilities"] for one in found])
        np.testing.assert_allclose(probabilities, expected, atol=tolerance)
        if file == "model_float32.tflite":
            scores = np.concatenate([one["scores"] for one in found])
            expected = np.mean([one[SCORES].numpy() for one in outputs], axis=0)
            np.testing.assert_allclose(scores, expected, rtol=1e-3, atol=1e-2)


def operators(path: Path) -> list[tuple[str, set[str]]]:
    """Name and input types of each operator of a TFLite file."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes()))
    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if name.isupper()}
    types = {code: name for name, code in vars(schema.TensorType).items() if name.isupper()}
    (graph,) = model.subgraphs
    found = []
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        assert code.customCode is None, f"{path} needs {code.customCode}"
        kinds = {types[graph.tensors[index].type] for index in operator.inputs if index >= 0}
        found.append((names[max(code.builtinCode, code.deprecatedBuiltinCode)], kinds))
    return found


def test_only_builtins_are_used_and_matrix_products_are_integers(request_of: Request):
    output = Path(request_of.output)
    for file in ("preprocess.tflite", "model_float32.tflite"):
        assert operators(output / file)
    heavy = [
        kinds
        for name, kinds in operators(output / "model.tflite")
        if name in ("CONV_2D", "FULLY_CONNECTED")
    ]
    assert heavy
    assert all(kinds == {"INT8", "INT32"} or kinds == {"INT8"} for kinds in heavy)


def test_the_metadata_is_complete(request_of: Request):
    output = Path(request_of.output)
    described = metadata.read(output)
    assert described.classes == CLASSES
    assert described.disclaimer == DISCLAIMER
    assert described.model in request_of.model
    assert (described.height, described.width) == (SIDE, SIDE)
    assert set(described.files) == {path.name for path in output.glob("*.tflite")}
    assert described.agreement["float32"] == 1
    assert described.agreement["int8"] >= 0.8
    assert described.distance_limit > 0
    assert Classifier(output).metadata == described


def test_most_held_out_images_are_familiar(request_of: Request, images):
    classifier = Classifier(request_of.output)
    # No CLAHE and the right size: preprocessing leaves these as they are.
    distances = [classifier.preprocess(image[..., 0])[1] for image in images[0][45:]]
    assert np.mean(np.array(distances) <= classifier.metadata.distance_limit) >= 0.9


def test_the_order_of_the_records_changes_nothing(tmp_path, images, monkeypatch):
    from components.edge_exporter import build

    monkeypatch.setattr(build, "_MOST_IMAGES", 30)
    pixels, labels = images
    train("svm", tmp_path / "model", pixels[:45], labels[:45])
    by_class = np.argsort(labels[:45], kind="stable")
    built = []
    for name, order in (("by class", by_class), ("backwards", by_class[::-1])):
        output = tmp_path / name
        output.mkdir()
        built.append(
            build.build(
                Request(
                    model=str(tmp_path / "model"),
                    train_records=write_examples(
                        tmp_path / f"{name}.gz", pixels[order], labels[order]
                    ),
                    eval_records=write_examples(tmp_path / "eval.gz", pixels[45:], labels[45:]),
                    settings=EdgeSettings(calibration_images=10).model_dump_json(),
                    output=str(output),
                )
            )
        )
    assert built[0] == built[1]  # the digests of the files included


# A converter that goes wrong.


@pytest.fixture
def broken(tmp_path: Path) -> Request:
    (tmp_path / "model.json").write_text("{}")
    return Request(str(tmp_path), [], [], EdgeSettings().model_dump_json(), str(tmp_path))


def run_instead(monkeypatch, folder: Path, code: str) -> None:
    """Has the exporter run `code` in place of the conversion."""
    (folder / "other_build.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setattr(process, "_BUILD", "other_build")


def test_an_abort_of_the_converter_is_an_error_message(broken, tmp_path, monkeypatch):
    code = "import os, sys; print('LLVM ERROR: out of ideas', file=sys.stderr); "
    run_instead(monkeypatch, tmp_path, code + "sys.stderr.flush(); os.abort()")
    with pytest.raises(RuntimeError, match=r"SIGABRT(.|\n)*LLVM ERROR: out of ideas"):
        process.run_build(broken, tmp_path, timeout=60)


def test_modules_of_the_folder_one_stands_in_are_not_taken(broken, tmp_path, monkeypatch):
    (tmp_path / "library").mkdir()
    run_instead(monkeypatch, tmp_path / "library", "import json; json.dumps({})")
    (tmp_path / "json.py").write_text("raise SystemExit('a file of the user')")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scratch").mkdir()
    process.run_build(broken, tmp_path / "scratch", timeout=60)


def test_a_converter_that_hangs_is_stopped(broken, tmp_path, monkeypatch):
    run_instead(monkeypatch, tmp_path, "import time; time.sleep(60)")
    with pytest.raises(RuntimeError, match=r"edge\.timeout_seconds"):
        process.run_build(broken, tmp_path, timeout=1)


def test_an_exception_of_the_conversion_is_passed_on(broken, tmp_path, monkeypatch):
    run_instead(monkeypatch, tmp_path, "raise ValueError('this layer is unheard of')")
    with pytest.raises(RuntimeError, match="this layer is unheard of"):
        process.run_build(broken, tmp_path, timeout=60)


@pytest.mark.parametrize("further", [("int8",), ("float16", "float16")])
def test_a_variant_is_named_once(further):
    with pytest.raises(ValueError, match="name each variant once"):
        EdgeSettings(further_variants=further)


# The component.


def test_the_component_builds_what_the_runtime_runs(tmp_path, images):
    from tfx.types import standard_artifacts

    from components.artifacts import EdgeModel
    from components.edge_exporter.executor import Executor

    pixels, labels = images
    train("svm", tmp_path / "trained", pixels[:45], labels[:45])
    write_examples(tmp_path / "examples/Split-train/part-0.gz", pixels[:45], labels[:45])
    write_examples(tmp_path / "examples/Split-eval/part-0.gz", pixels[45:], labels[45:])
    model, examples = standard_artifacts.Model(), standard_artifacts.Examples()
    model.uri, examples.uri = str(tmp_path / "trained"), str(tmp_path / "examples")
    examples.split_names = '["train", "eval"]'
    edge_model = EdgeModel()
    edge_model.uri = str(tmp_path / "edge_model")
    Executor().Do(
        {"model": [model], "examples": [examples]},
        {"edge_model": [edge_model]},
        {"settings_json": EdgeSettings(calibration_images=20).model_dump_json()},
    )
    classifier = Classifier(edge_model.uri)
    assert classifier.metadata.model == "svm"
    assert edge_model.get_string_custom_property("variant") == "int8"
    assert classifier.predict(pixels[0, ..., 0]).label in CLASSES

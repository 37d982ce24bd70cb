"""The edge build against the SavedModel: from the bytes of an image to probabilities.

    python benchmarks/edge.py BUNDLE IMAGE...
    python benchmarks/edge.py EDGE_MODEL IMAGE... --saved-model FOLDER

Every contender runs in processes of its own, in turns, on the same images: latency of one
image (p50 and p95), peak resident memory, seconds from the start of the process to the
first answer, and the size of the model file. Targets are printed with the figures.

ONNX Runtime takes part where it, tf2onnx and onnx can be imported. They are not in the lock;
put them beside the environment rather than into it:

    uv pip install --target EXTRA --no-deps onnxruntime tf2onnx "onnx<1.18"
    PYTHONPATH=EXTRA python benchmarks/edge.py ...

It needs the float32 build (`--set edge.further_variants='["float32","float16"]'`), which
becomes its model; preprocessing is the edge build's, so that all contenders do the same work.
"""

import argparse
import hashlib
import importlib.util
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np

# Run as a file, this module would be found in place of the package that it measures.
sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != Path(__file__).parent]

from edge import metadata  # noqa: E402

WARM_UP = 3
ONNX_FILE = "model.onnx"


@dataclass(frozen=True)
class Contender:
    """A runtime, its model and its threads."""

    name: str
    runtime: str
    model: Path
    threads: int
    size: int  # bytes of the classifier's file or files


def main() -> None:
    """Runs every contender and prints the table."""
    options = _parser().parse_args()
    if options.child:
        print(json.dumps(_measure(*options.child, options.images)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        contenders = _contenders(options.model, options.saved_model, Path(scratch))
        results: dict[str, list[dict[str, float]]] = {one.name: [] for one in contenders}
        for _ in range(options.rounds):
            for contender in contenders:
                results[contender.name].append(_run(contender, options.images, options.repeats))
        _report(contenders, results)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="bundle, or folder with edge.json")
    parser.add_argument("images", type=Path, nargs="+")
    parser.add_argument("--saved-model", type=Path, help="default: saved_model/ of the bundle")
    parser.add_argument("--rounds", type=int, default=3, help="processes a contender")
    parser.add_argument("--repeats", type=int, default=50, help="predictions a process")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    return parser


def _contenders(model: Path, saved_model: Path | None, scratch: Path) -> list[Contender]:
    folder = metadata.find_folder(model)
    described = metadata.read(folder)
    found = []
    for variant in described.agreement:
        one = _only(folder, described, variant, scratch / variant)
        size = (one / metadata.MODEL_FILE).stat().st_size
        found += [
            Contender(f"LiteRT {variant}, {threads}", "litert", one, threads, size)
            for threads in (1, 2)
        ]
    saved_model = saved_model or model / "saved_model"
    if saved_model.is_dir():
        size = sum(file.stat().st_size for file in saved_model.rglob("*") if file.is_file())
        found += [
            Contender(f"SavedModel, {threads}", "tensorflow", saved_model, threads, size)
            for threads in (1, 2)
        ]
    else:
        print(f"NOT RUN against the SavedModel: none at {saved_model}")
    if importlib.util.find_spec("onnxruntime") and importlib.util.find_spec("tf2onnx"):
        onnx = _to_onnx(folder, scratch / "onnx")
        size = (onnx / ONNX_FILE).stat().st_size
        found += [
            Contender(f"ONNX Runtime, {threads}", "onnx", onnx, threads, size) for threads in (1, 2)
        ]
    else:
        print("NOT RUN against ONNX Runtime: see the head of this file for what to install")
    return found


def _only(folder: Path, described: metadata.Metadata, variant: str, target: Path) -> Path:
    """An edge folder whose `model.tflite` is `variant`."""
    source = metadata.MODEL_FILE if variant == described.variant else f"model_{variant}.tflite"
    target.mkdir()
    shutil.copy(folder / metadata.PREPROCESS_FILE, target)
    shutil.copy(folder / source, target / metadata.MODEL_FILE)
    names = (metadata.PREPROCESS_FILE, metadata.MODEL_FILE)
    digests = {name: hashlib.sha256((target / name).read_bytes()).hexdigest() for name in names}
    text = replace(described, variant=variant, files=digests).to_json()
    (target / metadata.FILE_NAME).write_text(text)
    return target


def _to_onnx(folder: Path, target: Path) -> Path:
    """A folder with the float32 classifier as ONNX, and what preprocesses for it."""
    source = folder / "model_float32.tflite"
    if not source.exists():
        raise SystemExit(f"ONNX Runtime needs {source}: export with float32 in further_variants")
    target.mkdir()
    shutil.copy(folder / metadata.PREPROCESS_FILE, target)
    command = [sys.executable, "-m", "tf2onnx.convert", "--tflite", str(source), "--opset", "17"]
    subprocess.run([*command, "--output", str(target / ONNX_FILE)], check=True, capture_output=True)
    return target


def _run(contender: Contender, images: list[Path], repeats: int) -> dict[str, float]:
    """Measures in a process of its own; `start` counts from before it exists."""
    child = [contender.runtime, str(contender.model), str(contender.threads), str(repeats)]
    command = [sys.executable, __file__, str(contender.model), *map(str, images)]
    began = time.time()
    done = subprocess.run([*command, "--child", *child], check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    result["start"] = result.pop("first_answer_at") - began
    return result


def _measure(
    runtime: str, model: str, threads: str, repeats: str, images: list[Path]
) -> dict[str, float]:
    predict = {"litert": _litert, "tensorflow": _tensorflow, "onnx": _onnx}[runtime](
        Path(model), int(threads)
    )
    encoded = [path.read_bytes() for path in images]
    predict(encoded[0])
    first = time.time()
    for _ in range(WARM_UP):
        predict(encoded[0])
    seconds = []
    for turn in range(int(repeats)):
        began = time.perf_counter()
        predict(encoded[turn % len(encoded)])
        seconds.append(time.perf_counter() - began)
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "p50": float(np.percentile(seconds, 50)),
        "p95": float(np.percentile(seconds, 95)),
        "rss": kilobytes * 1024,
        "first_answer_at": first,
    }


def _litert(model: Path, threads: int) -> Callable[[bytes], object]:
    from edge import Classifier

    return Classifier(model, threads).predict


def _tensorflow(model: Path, threads: int) -> Callable[[bytes], object]:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    signature = tf.saved_model.load(str(model)).signatures["serving_default"]
    return lambda image: signature(tf.constant([image]))["probabilities"].numpy()


def _onnx(model: Path, threads: int) -> Callable[[bytes], object]:
    import onnxruntime
    from ai_edge_litert.interpreter import Interpreter

    from edge.images import read_image

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        str(model / ONNX_FILE), settings, providers=["CPUExecutionProvider"]
    )
    (wanted,) = session.get_inputs()
    preprocess = Interpreter(
        str(model / metadata.PREPROCESS_FILE), num_threads=threads
    ).get_signature_runner()

    def predict(encoded: bytes) -> object:
        pixels = read_image(encoded).pixels[np.newaxis, :, :, np.newaxis]
        prepared = preprocess(**{metadata.IMAGE_INPUT: pixels})[metadata.MODEL_IMAGE_OUTPUT]
        return session.run(None, {wanted.name: prepared})

    return predict


def _report(contenders: list[Contender], results: dict[str, list[dict[str, float]]]) -> None:
    print(f"{'runtime, threads':<22}{'p50 ms':>9}{'p95 ms':>9}{'RSS MB':>9}{'start s':>9}{'MB':>8}")
    medians: dict[str, dict[str, float]] = {}
    for one in contenders:
        runs = results[one.name]
        figures = {key: median(run[key] for run in runs) for key in runs[0]}
        medians[one.name] = figures | {"size": one.size}
        print(
            f"{one.name:<22}{1000 * figures['p50']:>9.1f}{1000 * figures['p95']:>9.1f}"
            f"{figures['rss'] / 1e6:>9.0f}{figures['start']:>9.2f}{one.size / 1e6:>8.1f}"
        )
    print()
    for text, value, limit in _targets(medians):
        print(f"{text:<52}{value:>8.2f}  target {limit:g}  {'met' if value <= limit else 'MISSED'}")


def _targets(medians: dict[str, dict[str, float]]) -> list[tuple[str, float, float]]:
    quantized = medians.get("LiteRT int8, 1")
    if quantized is None:
        return []
    targets = [
        ("int8, peak RSS in MB", quantized["rss"] / 1e6, 300.0),
        ("int8, start to first answer in s", quantized["start"], 1.5),
    ]
    if whole := medians.get("LiteRT float32, 1"):
        targets.append(("int8 file / float32 file", quantized["size"] / whole["size"], 0.27))
    if served := medians.get("SavedModel, 1"):
        targets.append(
            ("int8 p50 / SavedModel p50, 1 thread", quantized["p50"] / served["p50"], 0.5)
        )
    return targets


if __name__ == "__main__":
    main()

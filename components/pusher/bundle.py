"""The bundle: what a run pushes, and what every server, device and command reads.

saved_model/        the float build, signatures `serving_default` and `serving_examples`
edge/               the TFLite build with `edge.json`, if it passed its own gate
schema.pbtxt        the schema of the training data
statistics.pb       the statistics of the training data
bundle.json         what it is; written last, so a folder without it is no bundle
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

from tfx.dsl.io import fileio

from models.errors import InputError

BUNDLE_FORMAT = 1
MANIFEST = "bundle.json"
SAVED_MODEL = "saved_model"
EDGE = "edge"
SCHEMA = "schema.pbtxt"
STATISTICS = "statistics.pb"


def write_manifest(folder: str, facts: dict[str, Any]) -> dict[str, Any]:
    """Completes the bundle in `folder` with its `bundle.json`, and returns what that says.

    Args:
        folder: holds everything but the manifest.
        facts: JSON-compatible; `format`, `files` (SHA-256 per file) and `version` (a digest
            over them) are added.
    """
    paths = sorted(path for path in _files(folder) if path != MANIFEST)
    files = {path: _sha256(os.path.join(folder, path)) for path in paths}
    version = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:16]
    manifest = {"format": BUNDLE_FORMAT, "version": version, **facts, "files": files}
    with fileio.open(os.path.join(folder, MANIFEST), "w") as file:
        file.write(json.dumps(manifest, indent=2, sort_keys=True) + "\n")
    return manifest


def read_manifest(folder: str) -> dict[str, Any]:
    """Returns the `bundle.json` of `folder`.

    Raises:
        InputError: there is none, it is not a JSON object, or its format is another version.
    """
    path = os.path.join(folder, MANIFEST)
    if not fileio.exists(path):
        raise InputError(
            f"{folder} is not a bundle (no {MANIFEST}): give the push/ folder of a run that "
            "pushed a model"
        )
    with fileio.open(path, "r") as file:
        try:
            manifest = json.loads(file.read())
        except ValueError as error:  # not JSON, or not even UTF-8
            raise InputError(f"{path} is damaged: {error}") from error
    if not isinstance(manifest, dict):
        raise InputError(f"{path} is damaged: it holds no JSON object")
    if manifest.get("format") != BUNDLE_FORMAT:
        raise InputError(
            f"{path} has format {manifest.get('format')!r}; this version reads {BUNDLE_FORMAT}"
        )
    return manifest


def deploy(bundle: str, destination: str) -> bool:
    """Makes `destination` hold the bundle, and nothing else; returns whether it changed.

    A reader finds the old bundle, or the new one, or none while they change places; never a
    part of one. On a disk the copy is made beside `destination` and renamed into its place. An
    object store renames a folder file by file: there the old manifest goes first and the new
    one comes last.
    """
    if _holds(destination, read_manifest(bundle)):
        return False
    if "://" in destination:
        _overwrite(bundle, destination)
    else:
        _swap(bundle, destination)
    return True


def _holds(folder: str, wanted: dict[str, Any]) -> bool:
    """Whether `folder` has the manifest `wanted` and, by their digests, exactly its files."""
    try:
        if read_manifest(folder) != wanted:
            return False
    except InputError:
        return False  # a damaged manifest is replaced like any other
    digests: Mapping[str, str] = wanted["files"]
    return set(_files(folder)) == {*digests, MANIFEST} and all(
        _sha256(os.path.join(folder, path)) == digest for path, digest in digests.items()
    )


def _overwrite(bundle: str, destination: str) -> None:
    manifest = os.path.join(destination, MANIFEST)
    if fileio.exists(manifest):
        fileio.remove(manifest)
    if fileio.exists(destination):
        fileio.rmtree(destination)
    copy_tree(bundle, destination)


def _swap(bundle: str, destination: str) -> None:
    staging = f"{destination.rstrip('/')}.incoming"
    retired = f"{destination.rstrip('/')}.retired"
    for leftover in (staging, retired):
        if fileio.exists(leftover):
            fileio.rmtree(leftover)
    copy_tree(bundle, staging)
    if fileio.exists(destination):
        fileio.rename(destination, retired)
    fileio.rename(staging, destination)
    if fileio.exists(retired):
        fileio.rmtree(retired)


def copy_tree(source: str, destination: str) -> None:
    """Copies every file below `source`, its manifest last, on any filesystem that TFX knows."""
    for path in sorted(_files(source), key=lambda path: path == MANIFEST):
        target = os.path.join(destination, path)
        fileio.makedirs(os.path.dirname(target))
        fileio.copy(os.path.join(source, path), target, overwrite=True)


def _files(folder: str) -> Iterator[str]:
    for root, _, names in fileio.walk(folder):
        for name in names:
            path = name.decode() if isinstance(name, bytes) else name
            parent = root.decode() if isinstance(root, bytes) else root
            yield os.path.relpath(os.path.join(parent, path), folder)


def _sha256(path: str) -> str:
    digest = hashlib.sha256()
    with fileio.open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()

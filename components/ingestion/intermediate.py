"""The shards between the two passes: the examples, and beside them who each one is."""

import json
import os
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator

import tensorflow as tf
from tfx.dsl.io import fileio

from components.ingestion.copies import place, shard_and_row
from components.ingestion.duplicates import Member


class Written:
    """A TFRecord file that appears under its name when it is complete."""

    def __init__(self, path: str, compression: str = "") -> None:
        self._path = path
        self._staging = f"{path}.{uuid.uuid4().hex}.incoming"
        self._compression = compression

    def __enter__(self) -> tf.io.TFRecordWriter:
        self._writer = tf.io.TFRecordWriter(self._staging, self._compression)
        return self._writer

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        self._writer.close()
        if error is None:
            fileio.rename(self._staging, self._path, overwrite=True)
        else:
            fileio.remove(self._staging)


def examples_path(workspace: str, shard: int) -> str:
    """Returns where the serialized examples of `shard` are, one a row."""
    return os.path.join(workspace, f"examples-{shard:05d}.tfrecord")


def members_path(workspace: str, shard: int) -> str:
    """Returns where the members of `shard` are: those of its examples, in the same rows."""
    return os.path.join(workspace, f"members-{shard:05d}.tfrecord")


def pack_member(member: Member) -> bytes:
    """Returns the record of `member`."""
    return json.dumps(member).encode()


def read(path: str) -> Iterator[bytes]:
    """Yields the records at `path`; none where no image came into the shard."""
    for record in tf.data.TFRecordDataset([path] if fileio.exists(path) else []):
        yield record.numpy()


def read_members(workspace: str, places: Iterable[int]) -> dict[int, Member]:
    """Returns who is at `places`; opens only the shards that are named."""
    wanted: dict[int, set[int]] = defaultdict(set)
    for at in places:
        shard, row = shard_and_row(at)
        wanted[shard].add(row)
    return {
        place(shard, row): Member(*json.loads(record))
        for shard, rows in sorted(wanted.items())
        for row, record in enumerate(read(members_path(workspace, shard)))
        if row in rows
    }

"""Walking and opening a data root, on a local disk or on any filesystem Beam knows.

Local paths go through the operating system, because only it can tell symbolic links,
devices and pipes from files. Beam is imported only where a path has a scheme.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from components.ingestion.names import printable
from components.ingestion.refusals import Reason, RefusedError
from models.errors import InputError


@dataclass(frozen=True)
class File:
    """One file below a data root.

    Attributes:
        path: where to open it.
        name: relative to the data root, with forward slashes.
        size: in bytes.
        modified: a number that changes when the content does (mtime or update time).
        problem: why it must not be opened, if so.
    """

    path: str
    name: str
    size: int
    modified: float
    problem: RefusedError | None = None


def is_remote(path: str) -> bool:
    """Whether `path` names a filesystem by a scheme, as in `gs://bucket/folder`."""
    return "://" in path


def join(folder: str, name: str) -> str:
    return f"{folder.rstrip('/')}/{name}" if is_remote(folder) else os.path.join(folder, name)


def walk(root: str) -> Iterator[File]:
    """Yields every file below `root`, in no particular order, holding one folder at a time.

    Links that leave the root, linked or unreadable folders, devices and pipes come with a
    `problem`.

    Raises:
        InputError: `root` is not a folder.
    """
    if is_remote(root):
        yield from _walk_remote(root)
        return
    if not os.path.isdir(root):
        what = "is a file, not a folder" if os.path.exists(root) else "does not exist"
        raise InputError(f"the data folder {printable(root)} {what}: name a folder of X-rays")
    yield from _walk_local(root, os.path.realpath(root))


def _walk_local(root: str, real_root: str) -> Iterator[File]:
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            entries = os.scandir(os.path.join(root, folder))
        except OSError as error:
            problem = RefusedError(Reason.UNREADABLE_FOLDER, error.strerror or str(error))
            yield File(os.path.join(root, folder), folder or ".", 0, 0, problem)
            continue
        with entries:
            for entry in entries:
                name = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_dir(follow_symlinks=False):
                    folders.append(name)
                else:
                    yield _local_file(entry, name, real_root)


def _local_file(entry: os.DirEntry[str], name: str, real_root: str) -> File:
    try:
        status = entry.stat()
    except OSError as error:  # a link to nowhere, or gone since
        gone = RefusedError(Reason.MISSING_FILE, error.strerror or str(error))
        return File(entry.path, name, 0, 0, gone)
    problem = _problem_of(entry.path, status, real_root, linked=entry.is_symlink())
    return File(entry.path, name, status.st_size, status.st_mtime_ns, problem)


def _problem_of(
    path: str, status: os.stat_result, real_root: str, linked: bool
) -> RefusedError | None:
    if stat.S_ISDIR(status.st_mode):  # wherever it leads: not one image is lost with it, but many
        return RefusedError(Reason.SYMLINKED_FOLDER, "a link to a folder: copy the folder instead")
    if linked and not _inside(os.path.realpath(path), real_root):
        return RefusedError(Reason.SYMLINK_OUTSIDE, "a link that leaves the data folder")
    if not stat.S_ISREG(status.st_mode):
        return RefusedError(Reason.SPECIAL_FILE, "a device, pipe or socket, not a file")
    return None


def _inside(real_path: str, real_root: str) -> bool:
    return os.path.commonpath([real_path, real_root]) == real_root


def _walk_remote(root: str) -> Iterator[File]:
    from apache_beam.io.filesystems import FileSystems

    prefix = root.rstrip("/") + "/"
    found = False
    for match in FileSystems.match([prefix + "**"]):
        for metadata in match.metadata_list:
            found = True
            yield File(
                metadata.path,
                metadata.path[len(prefix) :],
                metadata.size_in_bytes,
                metadata.last_updated_in_seconds,
            )
    if not found:
        raise InputError(f"nothing found below {root}: name a folder of X-rays")


def exists(path: str) -> bool:
    if is_remote(path):
        from apache_beam.io.filesystems import FileSystems

        return FileSystems.exists(path)
    return os.path.exists(path)


def is_folder(path: str) -> bool:
    if is_remote(path):
        from apache_beam.io.filesystems import FileSystems

        matches = FileSystems.match([path.rstrip("/") + "/*"], limits=[1])
        return bool(matches[0].metadata_list)
    return os.path.isdir(path)


def open_binary(path: str, root: str) -> IO[bytes]:
    """Opens `path`, which must be a regular file that does not lead out of `root`.

    Raises:
        RefusedError: it is missing, not a regular file, unreadable, or leaves `root`.
    """
    if is_remote(path):
        from apache_beam.io.filesystem import BeamIOError, CompressionTypes
        from apache_beam.io.filesystems import FileSystems

        try:
            return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)
        except (BeamIOError, FileNotFoundError) as error:
            raise RefusedError(Reason.MISSING_FILE, "no such file") from error
    try:
        status = os.stat(path)
        # A row of a table can name a file through a linked folder.
        problem = _problem_of(path, status, os.path.realpath(root), linked=True)
        if problem is not None:
            raise problem
        return open(path, "rb")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RefusedError(Reason.MISSING_FILE, "no such file") from error
    except OSError as error:
        raise RefusedError(Reason.UNREADABLE, error.strerror or str(error)) from error


def read_bounded(file: IO[bytes], limit: int) -> bytes:
    """Returns the content of `file`, which must have between 1 and `limit` bytes.

    Raises:
        RefusedError: it is empty, larger, or breaks off.
    """
    try:
        data = file.read(limit + 1)
    except OSError as error:
        raise RefusedError(Reason.UNREADABLE, error.strerror or str(error)) from error
    if not data:
        raise RefusedError(Reason.EMPTY_FILE, "0 bytes")
    if len(data) > limit:
        raise RefusedError(Reason.TOO_LARGE_FILE, f"more than data.max_file_bytes = {limit} bytes")
    return data

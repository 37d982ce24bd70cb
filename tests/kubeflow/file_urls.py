"""A disk that looks like an object store: Beam's local filesystem under `file://` URLs.

TensorFlow and TFX know the scheme; with `FileUrls` imported, Beam does too. To whoever calls
`open`, `os.path` or `pathlib` such a URL is no file, so a run whose data and artifacts have
one shows that every path goes through the filesystems that know `gs://` and `s3://`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from apache_beam.io.filesystem import FileMetadata
from apache_beam.io.localfilesystem import LocalFileSystem

PREFIX = "file://"


def url(path: Path) -> str:
    return f"{PREFIX}{path.absolute()}"


def _path(url: str) -> str:
    return url.removeprefix(PREFIX)


def path(url: str) -> Path:
    return Path(_path(url))


class FileUrls(LocalFileSystem):
    """Beam finds it by its scheme."""

    @classmethod
    def scheme(cls) -> str:
        return PREFIX.removesuffix("://")

    def join(self, basepath: str, *paths: str) -> str:
        # The base class joins paths of its own with this, too.
        prefix = PREFIX if basepath.startswith(PREFIX) else ""
        return prefix + super().join(_path(basepath), *paths)

    def split(self, path: str) -> tuple[str, str]:
        head, tail = super().split(_path(path))
        return PREFIX + head, tail

    def mkdirs(self, path: str) -> None:
        super().mkdirs(_path(path))

    def _url_dirname(self, url_or_path: str) -> str:
        return PREFIX + super()._url_dirname(_path(url_or_path))

    def _list(self, dir_or_prefix: str) -> Iterator[FileMetadata]:
        for found in super()._list(_path(dir_or_prefix)):
            yield FileMetadata(
                PREFIX + found.path, found.size_in_bytes, found.last_updated_in_seconds
            )

    def create(self, path: str, *options: Any, **named: Any) -> Any:
        return super().create(_path(path), *options, **named)

    def open(self, path: str, *options: Any, **named: Any) -> Any:
        return super().open(_path(path), *options, **named)

    def copy(self, source_file_names: list[str], destination_file_names: list[str]) -> None:
        super().copy([*map(_path, source_file_names)], [*map(_path, destination_file_names)])

    def rename(self, source_file_names: list[str], destination_file_names: list[str]) -> None:
        super().rename([*map(_path, source_file_names)], [*map(_path, destination_file_names)])

    def exists(self, path: str) -> bool:
        return super().exists(_path(path))

    def size(self, path: str) -> int:
        return super().size(_path(path))

    def last_updated(self, path: str) -> float:
        return super().last_updated(_path(path))

    def checksum(self, path: str) -> str:
        return super().checksum(_path(path))

    def metadata(self, path: str) -> FileMetadata:
        found = super().metadata(_path(path))
        return FileMetadata(path, found.size_in_bytes, found.last_updated_in_seconds)

    def delete(self, paths: list[str]) -> None:
        super().delete([*map(_path, paths)])

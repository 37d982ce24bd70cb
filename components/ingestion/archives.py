"""Zip and tar archives of images, read member by member without unpacking them.

Nothing is ever written to a path that an archive names, and every member is read up to a
limit, whatever its header claims.
"""

import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from components.ingestion import storage
from components.ingestion.refusals import Reason, RefusedError

ZIP_SUFFIXES = (".zip",)
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
SUFFIXES = ZIP_SUFFIXES + TAR_SUFFIXES

MAX_RATIO = 200  # unpacked to packed; images, already compressed, stay near 1
RATIO_FREE = 64 * 1024 * 1024  # bytes below which the ratio does not matter
MAX_MEMBERS = 5_000_000
MAX_HEADER = 1024 * 1024  # bytes of a long name or of the attributes of a tar member

_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    lzma.LZMAError,
    zlib.error,
    EOFError,
    NotImplementedError,  # a compression that zipfile lacks
    ValueError,
    OverflowError,
    RecursionError,  # of tarfile, over header after header without a member
)


def is_archive(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def is_zip(name: str) -> bool:
    return name.lower().endswith(ZIP_SUFFIXES)


def split_path(name: str) -> tuple[str, str]:
    """Splits `a/b.zip/c.png` into (`a/b.zip`, `c.png`); the member is empty if no archive."""
    parts = name.split("/")
    for end in range(1, len(parts)):
        if is_archive(parts[end - 1]):
            return "/".join(parts[:end]), "/".join(parts[end:])
    return name, ""


@contextmanager
def _refusing_damage() -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise RefusedError(
            Reason.DAMAGED_ARCHIVE, f"cannot be read: {error or type(error).__name__}"
        ) from error
    except OSError as error:
        raise RefusedError(Reason.DAMAGED_ARCHIVE, error.strerror or str(error)) from error


class Zip:
    """A zip archive: any member can be read on its own."""

    def __init__(self, path: str, root: str) -> None:
        """Reads the directory of the archive.

        Raises:
            RefusedError: it is damaged, or unpacks to absurdly more than its own size.
        """
        self._file = storage.open_binary(path, root)
        try:
            with _refusing_damage():
                self._archive = zipfile.ZipFile(self._file)
            members = self._archive.infolist()
            packed = self._file.seek(0, io.SEEK_END)
            _refuse_bomb(sum(member.file_size for member in members), packed)
            if len(members) > MAX_MEMBERS:
                raise RefusedError(Reason.ARCHIVE_BOMB, f"{len(members)} members")
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "Zip":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._archive.close()
        self._file.close()

    def names(self) -> Iterator[str]:
        """Yields the names of all files in it, as they are."""
        return (member.filename for member in self._archive.infolist() if not member.is_dir())

    def read(self, name: str, limit: int) -> bytes:
        """Returns the bytes of member `name`.

        Raises:
            RefusedError: no such member, encrypted, damaged, empty, or more than `limit` bytes.
        """
        try:
            member = self._archive.getinfo(name)
        except KeyError as error:
            raise RefusedError(Reason.MISSING_FILE, "no such file in the archive") from error
        if member.flag_bits & 0x1:
            raise RefusedError(Reason.ENCRYPTED_ARCHIVE, "needs a password: unpack it first")
        with _refusing_damage(), self._archive.open(member) as file:
            return storage.read_bounded(file, limit)


class LastZip:
    """Keeps the zip archive that was used last open.

    The members of a large archive come in many portions; without this, its whole directory
    would be read for each.
    """

    def __init__(self) -> None:
        self._path = ""
        self._zip: Zip | None = None

    def __enter__(self) -> "LastZip":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self, path: str, root: str) -> Zip:
        """Returns the archive at `path`; what was open before is closed.

        Raises:
            RefusedError: see `Zip`.
        """
        if self._zip is None or self._path != path:
            self.close()
            self._zip = Zip(path, root)
            self._path = path
        return self._zip

    def close(self) -> None:
        """Closes whatever is open."""
        if self._zip is not None:
            self._zip.close()
            self._zip = None


def read_tar(
    path: str, root: str, limit: int, wanted: Callable[[str], bool]
) -> Iterator[tuple[str, bytes | RefusedError]]:
    """Yields (name, bytes) of the members that are `wanted`, from front to back.

    A member that cannot be used comes with the reason instead of its bytes.

    Raises:
        RefusedError: the archive is damaged, or unpacks to absurdly more than its own size.
    """
    with storage.open_binary(path, root) as file:
        packed = file.seek(0, io.SEEK_END)
        file.seek(0)
        with _refusing_damage(), tarfile.open(fileobj=file, tarinfo=_Header) as archive:
            for number, member in enumerate(archive):
                _refuse_bomb(archive.offset, packed)
                if number >= MAX_MEMBERS:
                    raise RefusedError(Reason.ARCHIVE_BOMB, f"more than {MAX_MEMBERS} members")
                # tarfile remembers every header; a long archive would fill the memory.
                archive.members.clear()  # type: ignore[attr-defined]
                if member.isdir() or not wanted(member.name):
                    continue
                yield member.name, _tar_member(archive, member, limit)


class _Header(tarfile.TarInfo):
    """A header that does not fill the memory: tarfile reads long names and attributes whole."""

    _LONG = (
        tarfile.GNUTYPE_LONGNAME,
        tarfile.GNUTYPE_LONGLINK,
        tarfile.XHDTYPE,
        tarfile.XGLTYPE,
        tarfile.SOLARIS_XHDTYPE,
    )

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in self._LONG and self.size > MAX_HEADER:
            raise RefusedError(Reason.ARCHIVE_BOMB, f"a name or header of {self.size} bytes")
        return super()._proc_member(archive)  # type: ignore[misc]

    def _refuse_sparse(self, *_: object) -> NoReturn:
        """In place of tarfile's, which read a map of holes of any length."""
        raise RefusedError(Reason.SPECIAL_FILE, "a sparse file: pack it again without --sparse")

    _proc_sparse = _proc_gnusparse_10 = _refuse_sparse


def _tar_member(
    archive: tarfile.TarFile, member: tarfile.TarInfo, limit: int
) -> bytes | RefusedError:
    if not member.isreg():
        return RefusedError(Reason.SPECIAL_FILE, "a link or device inside an archive")
    file = archive.extractfile(member)
    assert file is not None  # only links and folders have none
    try:
        return storage.read_bounded(file, limit)
    except RefusedError as refused:
        return refused


def _refuse_bomb(unpacked: int, packed: int) -> None:
    if unpacked > RATIO_FREE and unpacked > MAX_RATIO * packed:
        raise RefusedError(Reason.ARCHIVE_BOMB, f"{packed} bytes that unpack to {unpacked} or more")

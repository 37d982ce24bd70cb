"""Walking folders: links, devices, names that are not text, and a remote filesystem."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.ingestion import storage
from components.ingestion.fingerprint import fingerprint
from components.ingestion.refusals import Reason, RefusedError
from models.errors import InputError


def problems(root: Path) -> dict[str, Reason | None]:
    return {
        file.name: file.problem.reason if file.problem else None for file in storage.walk(str(root))
    }


def test_a_missing_root_and_a_file_as_root_are_named(tmp_path):
    with pytest.raises(InputError, match="nowhere does not exist"):
        list(storage.walk(str(tmp_path / "nowhere")))
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(InputError, match="is a file, not a folder"):
        list(storage.walk(str(tmp_path / "file")))


def test_links_are_followed_inside_the_root_only(tmp_path):
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    (root / "a" / "image.png").write_bytes(b"x")
    (tmp_path / "secret.png").write_bytes(b"secret")
    (root / "inside.png").symlink_to(root / "a" / "image.png")
    (root / "outside.png").symlink_to(tmp_path / "secret.png")
    (root / "nowhere.png").symlink_to(tmp_path / "nowhere.png")
    (root / "folder").symlink_to(root / "a")
    (root / "loop").symlink_to(root)
    (root / "disk").symlink_to(tmp_path)
    assert problems(root) == {
        "a/image.png": None,
        "inside.png": None,
        "outside.png": Reason.SYMLINK_OUTSIDE,
        "nowhere.png": Reason.MISSING_FILE,
        "folder": Reason.SYMLINKED_FOLDER,
        "loop": Reason.SYMLINKED_FOLDER,
        "disk": Reason.SYMLINKED_FOLDER,
    }


def test_a_root_that_is_a_link_itself_is_fine(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.png").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert problems(tmp_path / "link") == {"a.png": None}


def test_pipes_and_sockets_are_never_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s.png"))
        assert set(problems(tmp_path).values()) == {Reason.SPECIAL_FILE}
        with pytest.raises(RefusedError) as refused:  # would hang if it were opened
            storage.open_binary(str(tmp_path / "pipe.png"), str(tmp_path))
    assert refused.value.reason == Reason.SPECIAL_FILE


def test_an_unreadable_file(tmp_path, monkeypatch):
    def denied(path, mode):  # in place of its rights, which mean nothing to root
        raise PermissionError(13, "Permission denied")

    path = tmp_path / "a.png"
    path.write_bytes(b"x")
    monkeypatch.setattr(storage, "open", denied, raising=False)
    with pytest.raises(RefusedError, match="Permission denied") as refused:
        storage.open_binary(str(path), str(tmp_path))
    assert refused.value.reason == Reason.UNREADABLE


def test_opening_through_a_linked_folder_that_leaves_the_root_is_refused(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "a.png").write_bytes(b"secret")
    (root / "images").symlink_to(tmp_path / "private")
    with pytest.raises(RefusedError) as refused:
        storage.open_binary(str(root / "images" / "a.png"), str(root))
    assert refused.value.reason == Reason.SYMLINK_OUTSIDE


@pytest.mark.parametrize(
    ("content", "limit", "reason"),
    [(b"", 10, Reason.EMPTY_FILE), (b"x" * 11, 10, Reason.TOO_LARGE_FILE)],
)
def test_files_have_a_size_between_one_byte_and_the_limit(tmp_path, content, limit, reason):
    (tmp_path / "a").write_bytes(content)
    with (
        storage.open_binary(str(tmp_path / "a"), str(tmp_path)) as file,
        pytest.raises(RefusedError) as refused,
    ):
        storage.read_bounded(file, limit)
    assert refused.value.reason == reason


def test_names_that_are_not_utf8_are_read(tmp_path):
    path = os.fsencode(tmp_path) + b"/caf\xe9.png"
    with open(path, "wb") as file:
        file.write(b"x")
    (found,) = storage.walk(str(tmp_path))
    with storage.open_binary(found.path, str(tmp_path)) as file:
        assert storage.read_bounded(file, 10) == b"x"
    assert fingerprint(str(tmp_path))


def test_the_fingerprint_changes_with_any_file(tmp_path):
    seen = set()

    def note() -> None:
        seen.add(fingerprint(str(tmp_path)))

    note()
    (tmp_path / "a.png").write_bytes(b"1")
    note()
    (tmp_path / "a.png").write_bytes(b"12")
    note()
    os.utime(tmp_path / "a.png", ns=(1, 1))
    note()
    (tmp_path / "a.png").rename(tmp_path / "b.png")
    note()
    (tmp_path / "c.png").write_bytes(b"")
    note()
    assert len(seen) == 6
    again = fingerprint(str(tmp_path))
    assert again in seen


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The local folder behind `coronettest://bucket`, which Beam takes for a remote one."""
    from apache_beam.io.filesystem import FileMetadata
    from apache_beam.io.localfilesystem import LocalFileSystem

    local = tmp_path_factory.mktemp("bucket")

    class RemoteFileSystem(LocalFileSystem):
        @classmethod
        def scheme(cls):
            return "coronettest"

        def _local(self, path):
            return path.replace("coronettest://bucket", str(local))

        def join(self, base, *paths):
            return "/".join([base, *paths])

        def split(self, path):
            head, _, tail = path.rpartition("/")
            return head, tail

        def _list(self, dir_or_prefix):
            for found in super()._list(self._local(dir_or_prefix)):
                yield FileMetadata(
                    found.path.replace(str(local), "coronettest://bucket"),
                    found.size_in_bytes,
                    found.last_updated_in_seconds,
                )

        def exists(self, path):
            return super().exists(self._local(path))

        def open(self, path, *arguments, **options):
            return super().open(self._local(path), *arguments, **options)

    yield local
    del RemoteFileSystem  # Beam knows the class only as long as somebody holds it


def test_a_remote_folder_is_walked_and_opened(bucket):
    remote_root = "coronettest://bucket/data"
    (bucket / "data" / "a").mkdir(parents=True)
    (bucket / "data" / "a" / "1.png").write_bytes(b"one")
    (bucket / "data" / "2.gz").write_bytes(b"two")
    files = {file.name: file for file in storage.walk(remote_root)}
    assert {name: file.size for name, file in files.items()} == {"a/1.png": 3, "2.gz": 3}
    with storage.open_binary(files["2.gz"].path, remote_root) as file:
        assert file.read() == b"two"  # as it is: the suffix does not decompress it
    assert storage.is_folder(f"{remote_root}/a")
    assert not storage.is_folder(f"{remote_root}/b")
    assert storage.exists(f"{remote_root}/a/1.png")
    with pytest.raises(RefusedError) as refused:
        storage.open_binary(f"{remote_root}/missing.png", remote_root)
    assert refused.value.reason == Reason.MISSING_FILE
    before = fingerprint(remote_root)
    (bucket / "data" / "3.png").write_bytes(b"three")
    assert fingerprint(remote_root) != before


def test_an_empty_remote_folder_is_named(bucket):
    with pytest.raises(InputError, match="nothing found below"):
        list(storage.walk("coronettest://bucket/empty"))

"""Archives: read in place, and hostile ones refused."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from components.ingestion import archives
from components.ingestion.discovery import Plan, discover, make_plan
from components.ingestion.reading import Image, Reading
from components.ingestion.refusals import Reason, Refusal, RefusedError
from components.ingestion.settings import DataSettings

SETTINGS = DataSettings()


def write_zip(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def write_tar(path: Path, members: dict[str, bytes], mode: str = "w") -> None:
    with tarfile.open(path, mode) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def read_all(root: Path, settings: DataSettings = SETTINGS, kind: str = "folder"):
    plan = make_plan(str(root), settings)
    found = list(discover(str(root), plan, settings))
    references = [item for item in found if not isinstance(item, Refusal)]
    items = [item for item in found if isinstance(item, Refusal)]
    items += Reading(str(root), plan.kind, settings).read(references)
    images = {item.name: item for item in items if isinstance(item, Image)}
    refusals = {item.path: Reason(item.reason) for item in items if isinstance(item, Refusal)}
    return images, refusals


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"])
def test_members_are_labelled_by_their_folders(tmp_path, xray, encode, suffix):
    members = {
        "train/normal/a.jpeg": encode(xray(1), "JPEG"),
        "./train/pneumonia/virus/b.png": encode(xray(2), "PNG"),
        "__MACOSX/train/normal/._a.jpeg": b"litter",
        "README.txt": b"about",
    }
    path = tmp_path / f"set{suffix}"
    if suffix == ".zip":
        write_zip(path, members)
    else:
        kind = {".tar": "w", ".tar.bz2": "w:bz2", ".tar.xz": "w:xz"}.get(suffix, "w:gz")
        write_tar(path, members, kind)
    before = sorted(tmp_path.iterdir())
    images, refusals = read_all(tmp_path)
    assert {name: image.label for name, image in images.items()} == {
        f"set{suffix}/train/normal/a.jpeg": 0,
        f"set{suffix}/train/pneumonia/virus/b.png": 2,
    }
    assert refusals == {}
    assert sorted(tmp_path.iterdir()) == before  # nothing was unpacked


def test_folders_of_the_archive_itself_count(tmp_path, xray, encode):
    (tmp_path / "covid").mkdir()
    write_zip(tmp_path / "covid" / "batch.zip", {"a.png": encode(xray(), "PNG")})
    images, _ = read_all(tmp_path)
    assert images["covid/batch.zip/a.png"].label == 3


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
def test_a_table_beside_its_archive(tmp_path, xray, encode, suffix):
    (tmp_path / "train.csv").write_text(
        "filename,label\na.png,normal\nb.png,covid\nmissing.png,viral\n"
    )
    members = {"a.png": encode(xray(1)), "b.png": encode(xray(2)), "c.png": encode(xray(3))}
    if suffix == ".zip":
        write_zip(tmp_path / "train.zip", members)
    else:
        write_tar(tmp_path / "train.tar.gz", members, "w:gz")
    images, refusals = read_all(tmp_path)
    assert {name: image.label for name, image in images.items()} == {
        f"train{suffix}/a.png": 0,
        f"train{suffix}/b.png": 3,
    }
    assert refusals == {f"train{suffix}/missing.png": Reason.MISSING_FILE}


@pytest.mark.parametrize("name", ["../../evil.png", "/etc/evil.png", "a/../../evil.png"])
@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_members_that_would_leave_the_archive_are_refused(tmp_path, xray, encode, suffix, name):
    write = write_zip if suffix == ".zip" else write_tar
    write(tmp_path / f"set{suffix}", {name: encode(xray()), "normal/a.png": encode(xray(1))})
    images, refusals = read_all(tmp_path)
    assert list(images) == [f"set{suffix}/normal/a.png"]
    assert list(refusals.values()) == [Reason.PATH_TRAVERSAL]


def test_links_and_devices_in_a_tar_are_refused(tmp_path):
    with tarfile.open(tmp_path / "set.tar", "w") as archive:
        for name, kind in (("l.png", tarfile.SYMTYPE), ("h.png", tarfile.LNKTYPE)):
            info = tarfile.TarInfo(f"normal/{name}")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        device = tarfile.TarInfo("normal/d.png")
        device.type = tarfile.CHRTYPE
        archive.addfile(device)
    images, refusals = read_all(tmp_path)
    assert images == {}
    assert set(refusals.values()) == {Reason.SPECIAL_FILE}
    assert len(refusals) == 3


def test_a_zip_bomb_is_refused_by_its_directory(tmp_path):
    zeros = bytes(100 * 1024 * 1024)
    write_zip(tmp_path / "bomb.zip", {"normal/a.png": zeros}, zipfile.ZIP_DEFLATED)
    images, refusals = read_all(tmp_path)
    assert images == {}
    assert refusals == {"bomb.zip": Reason.ARCHIVE_BOMB}


def test_a_zip_whose_directory_lies_about_a_member_is_read_to_the_limit(tmp_path):
    path = tmp_path / "liar.zip"
    write_zip(path, {"normal/a.png": bytes(5_000_000)}, zipfile.ZIP_DEFLATED)
    data = bytearray(path.read_bytes())
    claimed = (5_000_000).to_bytes(4, "little")
    small = (1000).to_bytes(4, "little")
    path.write_bytes(bytes(data).replace(claimed, small))
    _, refusals = read_all(tmp_path, DataSettings(max_file_bytes=2000))
    assert refusals["liar.zip/normal/a.png"] in (Reason.DAMAGED_ARCHIVE, Reason.NOT_AN_IMAGE)


def test_a_tar_bomb_is_refused_before_it_is_unpacked(tmp_path):
    write_tar(tmp_path / "bomb.tar.gz", {"normal/a.png": bytes(100 * 1024 * 1024)}, "w:gz")
    _, refusals = read_all(tmp_path)
    assert refusals == {"bomb.tar.gz": Reason.ARCHIVE_BOMB}


def test_what_is_small_may_unpack_to_any_share(tmp_path):
    zeros = {"normal/a.png": bytes(5_000_000)}
    write_zip(tmp_path / "a.zip", zeros, zipfile.ZIP_DEFLATED)
    write_tar(tmp_path / "b.tar.gz", zeros, "w:gz")
    assert max(path.stat().st_size for path in tmp_path.iterdir()) < 5_000_000 / archives.MAX_RATIO
    _, refusals = read_all(tmp_path)
    assert refusals == {
        "a.zip/normal/a.png": Reason.NOT_AN_IMAGE,
        "b.tar.gz/normal/a.png": Reason.NOT_AN_IMAGE,
    }


@pytest.mark.parametrize(
    "kind", [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE]
)
def test_a_name_that_is_a_bomb_is_not_read(tmp_path, kind):
    import gzip
    import tracemalloc

    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = kind, 50 * 1024 * 1024
    path = tmp_path / "bomb.tar.gz"
    with gzip.open(path, "wb", 1) as file:
        file.write(header.tobuf(tarfile.GNU_FORMAT) + bytes(header.size))
        file.write(tarfile.TarInfo("normal/a.png").tobuf() + bytes(1024))
    tracemalloc.start()
    try:
        with pytest.raises(RefusedError, match="a name or header of 52428800 bytes") as refused:
            list(archives.read_tar(str(path), str(tmp_path), 10, lambda _: True))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert refused.value.reason == Reason.ARCHIVE_BOMB
    assert peak < 10_000_000


def test_a_map_of_holes_is_not_read(tmp_path):
    """GNU tar's two ways to store sparse files; both maps end where they say that they do."""
    old = tarfile.TarInfo("normal/a.png")
    old.type = tarfile.GNUTYPE_SPARSE
    (tmp_path / "old.tar").write_bytes(old.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    new = tarfile.TarInfo("normal/a.png")
    new.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
    new.size = 512
    with tarfile.open(tmp_path / "new.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(new, io.BytesIO(b"0\n".ljust(512, b"\0")))
    _, refusals = read_all(tmp_path)
    assert refusals == {"old.tar": Reason.SPECIAL_FILE, "new.tar": Reason.SPECIAL_FILE}


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_in_a_tar_are_read(tmp_path, form):
    name = f"normal/{'é' * 150}.png"
    with tarfile.open(tmp_path / "a.tar", "w", format=form) as archive:
        info = tarfile.TarInfo(name)
        info.size = 3
        archive.addfile(info, io.BytesIO(b"abc"))
    members = archives.read_tar(str(tmp_path / "a.tar"), str(tmp_path), 10, lambda _: True)
    assert list(members) == [(name, b"abc")]


def test_a_tar_of_nothing_but_headers_is_refused(tmp_path):
    """Each is read inside of the one before."""
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 512
    (tmp_path / "a.tar").write_bytes((header.tobuf(tarfile.GNU_FORMAT) + bytes(512)) * 2000)
    _, refusals = read_all(tmp_path)
    assert refusals == {"a.tar": Reason.DAMAGED_ARCHIVE}


def test_a_large_member_is_refused_alone(tmp_path, xray, encode):
    noise = encode(xray(0, 200, 200))
    small = encode(xray(1, 40, 40))
    settings = DataSettings(max_file_bytes=(len(noise) + len(small)) // 2)
    for name, write in (("a.zip", write_zip), ("b.tar", write_tar)):
        write(tmp_path / name, {"normal/large.png": noise, "normal/small.png": small})
    images, refusals = read_all(tmp_path, settings)
    assert sorted(images) == ["a.zip/normal/small.png", "b.tar/normal/small.png"]
    assert set(refusals.values()) == {Reason.TOO_LARGE_FILE}


def test_an_encrypted_zip_is_named(tmp_path, xray, encode):
    path = tmp_path / "locked.zip"
    write_zip(path, {"normal/a.png": encode(xray())})
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1  # the flag that says: encrypted
    path.write_bytes(bytes(data))
    _, refusals = read_all(tmp_path)
    assert refusals == {"locked.zip/normal/a.png": Reason.ENCRYPTED_ARCHIVE}


def test_damaged_archives_are_refused(tmp_path, xray, encode):
    members = {f"normal/{index}.png": encode(xray(index)) for index in range(5)}
    write_zip(tmp_path / "a.zip", members)
    write_tar(tmp_path / "b.tar.gz", members, "w:gz")
    for name in ("a.zip", "b.tar.gz"):
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (tmp_path / "c.zip").write_bytes(b"not a zip at all")
    (tmp_path / "d.tar").write_bytes(b"not a tar at all" * 100)
    _, refusals = read_all(tmp_path)
    whole = {name: reason for name, reason in refusals.items() if "/" not in name}
    assert whole == dict.fromkeys(("a.zip", "b.tar.gz", "c.zip", "d.tar"), Reason.DAMAGED_ARCHIVE)


def test_a_flipped_byte_in_a_member_is_found_by_its_checksum(tmp_path, xray, encode):
    path = tmp_path / "a.zip"
    picture = encode(xray())
    write_zip(path, {"normal/a.png": picture})
    data = bytearray(path.read_bytes())
    data[data.index(picture) + len(picture) // 2] ^= 0xFF
    path.write_bytes(bytes(data))
    _, refusals = read_all(tmp_path)
    assert refusals == {"a.zip/normal/a.png": Reason.DAMAGED_ARCHIVE}


def test_an_archive_inside_an_archive_is_refused(tmp_path, xray, encode):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("a.png", encode(xray()))
    write_zip(tmp_path / "outer.zip", {"normal/inner.zip": inner.getvalue()})
    _, refusals = read_all(tmp_path)
    assert refusals == {"outer.zip/normal/inner.zip": Reason.NESTED_ARCHIVE}


def test_a_name_twice_in_an_archive_counts_once(tmp_path, xray, encode):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for seed in (1, 2):
            data = encode(xray(seed))
            info = tarfile.TarInfo("normal/a.png")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    plan = Plan("folder")
    references = list(discover(str(tmp_path), plan, SETTINGS))
    items = list(Reading(str(tmp_path), "folder", SETTINGS).read(references))
    assert [type(item) for item in items] == [Image, Refusal]
    assert items[1].reason == Reason.EXACT_COPY


def test_headers_of_a_long_tar_are_not_kept(tmp_path):
    import tracemalloc

    path = tmp_path / "long.tar"
    with tarfile.open(path, "w") as archive:
        for index in range(20_000):
            archive.addfile(tarfile.TarInfo(f"normal/{index}.png"))
    tracemalloc.start()
    try:
        count = sum(1 for _ in archives.read_tar(str(path), str(tmp_path), 10, lambda _: True))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 20_000
    assert peak < 5_000_000, "20,000 headers of about a kilobyte each"


def test_a_missing_member_is_refused(tmp_path):
    write_zip(tmp_path / "a.zip", {"b.png": b"x"})
    with (
        archives.Zip(str(tmp_path / "a.zip"), str(tmp_path)) as archive,
        pytest.raises(RefusedError) as refused,
    ):
        archive.read("c.png", 10)
    assert refused.value.reason == Reason.MISSING_FILE


def test_an_archive_is_opened_once_for_many_portions(tmp_path, xray, encode, monkeypatch):
    for name in ("one.zip", "two.zip"):
        write_zip(
            tmp_path / name, {f"covid/{index}.png": encode(xray(index)) for index in range(4)}
        )
    references = list(discover(str(tmp_path), Plan("folder"), SETTINGS))
    opened: list[str] = []
    opening = archives.Zip.__init__

    def counted(self, path, root):
        opened.append(Path(path).name)
        opening(self, path, root)

    monkeypatch.setattr(archives.Zip, "__init__", counted)
    reading = Reading(str(tmp_path), "folder", SETTINGS)
    with archives.LastZip() as zips:
        found = [item for one in references for item in reading.read([one], zips)]
        last = zips.open(references[-1].container, str(tmp_path))
    assert len(found) == 8
    assert all(isinstance(item, Image) for item in found)
    assert sorted(opened) == ["one.zip", "two.zip"]
    with pytest.raises(RefusedError, match="already closed"):
        last.read("covid/0.png", 1000)

"""A network from a file in the place of one that is trained."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from models.classifier import build_network
from models.errors import InputError
from models.pretrained import load_pretrained
from models.settings import CoronetSettings

SIZE = (64, 64)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pretrained") / "coronet.keras"
    build_network(CoronetSettings(dense_units=16), SIZE).save(path)
    return path


def test_the_network_of_the_file_is_taken(file: Path) -> None:
    import keras

    settings = CoronetSettings(dense_units=16, pretrained=str(file))
    network, fitted = load_pretrained(settings, SIZE)
    images = np.random.default_rng(0).random((2, *SIZE, 1)).astype(np.float32)
    expected = keras.saving.load_model(file).predict(images, verbose=0)
    np.testing.assert_array_equal(network.predict(images, verbose=0), expected)
    assert (fitted.best_epoch, fitted.history) == (0, {})


@pytest.mark.parametrize(
    ("dense_units", "size", "message"),
    [
        (32, SIZE, "with 32 dense units"),
        (16, (96, 96), "for images of 96 x 96 pixels"),
    ],
)
def test_another_network_is_refused(
    file: Path, dense_units: int, size: tuple[int, int], message: str
) -> None:
    settings = CoronetSettings(dense_units=dense_units, pretrained=str(file))
    with pytest.raises(InputError, match=message):
        load_pretrained(settings, size)


def test_a_network_that_diverged_is_refused(file: Path, tmp_path: Path) -> None:
    import keras

    network = keras.saving.load_model(file)
    network.weights[-1].assign([0, np.nan, 0, 0])
    diverged = tmp_path / "diverged.keras"
    network.save(diverged)
    with pytest.raises(InputError, match=r"diverged\.keras has weights that are no numbers"):
        load_pretrained(CoronetSettings(dense_units=16, pretrained=str(diverged)), SIZE)


@pytest.mark.parametrize("content", [None, b"", b"not a network"])
def test_what_is_no_keras_file_is_refused(content: bytes | None, tmp_path: Path) -> None:
    wrong = tmp_path / "coronet.keras"
    if content is not None:
        wrong.write_bytes(content)
    with pytest.raises(InputError, match=r"cannot read .*coronet\.keras"):
        load_pretrained(CoronetSettings(pretrained=str(wrong)), SIZE)


@pytest.mark.parametrize(
    ("member", "content"),
    [
        ("config.json", None),  # any other zip archive
        ("config.json", b"[]"),
        ("model.weights.h5", b"damaged"),
    ],
)
def test_an_archive_that_keras_cannot_read_is_refused(
    member: str, content: bytes | None, file: Path, tmp_path: Path
) -> None:
    wrong = tmp_path / "coronet.keras"
    with zipfile.ZipFile(file) as whole, zipfile.ZipFile(wrong, "w") as part:
        for name in whole.namelist():
            if name != member:
                part.writestr(name, whole.read(name))
        if content is not None:
            part.writestr(member, content)
    with pytest.raises(InputError, match=r"cannot read .*coronet\.keras"):
        load_pretrained(CoronetSettings(dense_units=16, pretrained=str(wrong)), SIZE)

"""Where labels come from, and what is said about those that cannot be used."""

import json
from pathlib import Path

import pytest

from components.ingestion.discovery import discover, make_plan
from components.ingestion.labels import LabelMap
from components.ingestion.patients import patient_in_name
from components.ingestion.preflight import preflight
from components.ingestion.reading import Image, Reading
from components.ingestion.references import Reference
from components.ingestion.refusals import Reason, Refusal
from components.ingestion.settings import DataSettings
from models.errors import InputError
from models.features import CLASSES

SETTINGS = DataSettings()
HEADER = "filename,label\n"
FOUR = "".join(f"{name}.png,{name}\n" for name in CLASSES)


def touch(root: Path, *names: str) -> Path:
    """Writes files that are never opened: finding images must not need their content."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return root


def write_table(root: Path, text: str, name: str = "train.csv") -> Path:
    (root / name).write_text(text, encoding="utf-8")
    return root


def found(root: Path, settings: DataSettings = SETTINGS) -> dict[str, str]:
    plan = make_plan(str(root), settings)
    return {
        item.name if isinstance(item, Reference) else item.path: (
            item.label if isinstance(item, Reference) else f"!{item.reason}"
        )
        for item in discover(str(root), plan, settings)
    }


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("normal", "normal"),
        ("NORMAL ", "normal"),
        ("No_Finding", "normal"),
        ("COVID-19", "covid"),
        ("covid_19", "covid"),
        ("SARS-CoV-2", "covid"),
        ("pneumonia/bacteria", "bacterial"),
        ("chest_xray/train/PNEUMONIA/Virus", "viral"),
        ("Bacterial Pneumonia", "bacterial"),
    ],
)
def test_aliases(text, name):
    assert LabelMap({}, folders=True).index(text) == CLASSES.index(name)


@pytest.mark.parametrize("text", ["", "pneumonia", "tuberculosis", "covid/other", "0"])
def test_what_is_not_one_of_the_classes_is_not_guessed(text):
    assert LabelMap({}, folders=True).index(text) is None


def test_aliases_of_the_configuration_come_first():
    labels = LabelMap({"healthy": "viral", "J12.1": "viral"}, folders=False)
    assert labels.index("Healthy") == labels.index("j12.1") == CLASSES.index("viral")


@pytest.mark.parametrize("text", ["bacterial/viral", "covid/normal", "not/normal"])
def test_a_slash_in_a_table_is_no_folder(tmp_path, xray, encode, text):
    touch(tmp_path, *(f"{name}.png" for name in CLASSES))
    (tmp_path / "a.png").write_bytes(encode(xray()))
    write_table(tmp_path, HEADER + FOUR + f"a.png,{text}\n")
    with pytest.raises(InputError, match=f"1  {text}"):
        preflight(str(tmp_path), SETTINGS)
    write_table(tmp_path, HEADER + f"a.png,{text}\n")
    (refusal,) = read_one(tmp_path, SETTINGS)
    assert (refusal.reason, refusal.detail) == (Reason.UNKNOWN_LABEL, text)


def test_aliases_with_a_slash_match_in_a_table():
    labels = LabelMap({"a/b": "covid"}, folders=False)
    assert labels.index("Pneumonia/Virus") == CLASSES.index("viral")
    assert labels.index("A/B") == CLASSES.index("covid")


def test_a_folder_for_each_class(tmp_path):
    touch(tmp_path, *(f"train/{name}/1.png" for name in CLASSES), "train/covid/.DS_Store")
    touch(tmp_path, "train/normal/Thumbs.db", "train/normal/notes.txt", "README.md")
    result = preflight(str(tmp_path), SETTINGS)
    assert result.kind == "folder"
    assert result.per_class == dict.fromkeys(CLASSES, 1)


def test_a_csv_beside_its_folder(tmp_path):
    touch(tmp_path, *(f"train/{name}.png" for name in CLASSES), "test/unlabelled.png")
    write_table(tmp_path, HEADER + FOUR)
    write_table(tmp_path, "filename\nunlabelled.png\n", "test.csv")
    result = preflight(str(tmp_path), SETTINGS)
    assert (result.kind, result.images) == ("csv", 4)
    (note,) = result.notes
    assert "test.csv has no column 'label'" in note
    assert found(tmp_path)["train/covid.png"] == "covid"


@pytest.mark.parametrize("place", ["images/", "", "train/"])
def test_where_images_of_a_table_are_looked_for(tmp_path, place):
    touch(tmp_path, f"{place}a.png")
    write_table(tmp_path, HEADER + "a.png,normal\n")
    assert found(tmp_path) == {f"{place}a.png": "normal"}


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_spreadsheets_of_the_world(tmp_path, delimiter):
    text = "\ufeffFileName,Label,Patient_ID\r\n" + '"a, b.png",normal,p1\r\n'
    if delimiter != ",":
        text = text.replace(",", delimiter).replace(f"a{delimiter} b", "a, b")
    touch(tmp_path, "a, b.png")
    write_table(tmp_path, text)
    (reference,) = discover(str(tmp_path), make_plan(str(tmp_path), SETTINGS), SETTINGS)
    assert isinstance(reference, Reference)
    assert (reference.name, reference.label, reference.patient) == ("a, b.png", "normal", "p1")


def test_jsonl(tmp_path):
    lines = [{"Filename": f"{name}.png", "label": name, "patient_id": 7} for name in CLASSES]
    touch(tmp_path, *(f"{name}.png" for name in CLASSES))
    write_table(tmp_path, "\n".join(map(json.dumps, lines)) + "\n\n", "labels.jsonl")
    result = preflight(str(tmp_path), SETTINGS)
    assert (result.kind, result.per_class) == ("jsonl", dict.fromkeys(CLASSES, 1))


def test_other_column_names(tmp_path):
    touch(tmp_path, "a.png")
    write_table(tmp_path, "Image Index,Finding\na.png,normal\n")
    settings = DataSettings(filename_column="image index", label_column="finding")
    assert found(tmp_path, settings) == {"a.png": "normal"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER + "a.png,normal,extra\n", "train.csv, line 2: 3 fields, but the header has 2"),
        (HEADER + "a.png,normal\nb.png\n", "line 3: 1 fields"),
        (HEADER + 'a.png,"normal\n', "line .*: not a CSV row"),
        (HEADER + "a.png," + "x" * 100_000 + "\n", "line 2: not a CSV row .*field larger"),
        ("filename,label,label\na.png,normal,covid\n", "column 'label' twice"),
    ],
    ids=["long_row", "short_row", "unclosed_quote", "huge_field", "column_twice"],
)
def test_broken_csv(tmp_path, text, message):
    write_table(tmp_path, text)
    with pytest.raises(InputError, match=message):
        preflight(str(tmp_path), SETTINGS)


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_a_table_that_is_not_utf8(tmp_path, encoding):
    text = HEADER + "".join(f"{index}.png,normal\n" for index in range(2000)) + "é.png,covid\n"
    (tmp_path / "train.csv").write_bytes(text.encode(encoding))
    settings = DataSettings(label_file="train.csv")
    with pytest.raises(InputError, match=r"train\.csv is not UTF-8"):
        preflight(str(tmp_path), settings)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{not json}", "line 2: not JSON"),
        ('["a.png", "normal"]', "line 2: not a JSON object"),
        ('{"filename": "b.png"}', "line 2: no 'label'"),
        ("[" * 100_000, "line 2: not JSON"),
    ],
    ids=["not_json", "not_an_object", "no_label", "deeply_nested"],
)
def test_broken_jsonl(tmp_path, line, message):
    write_table(tmp_path, '{"filename": "a.png", "label": "normal"}\n' + line + "\n", "l.jsonl")
    with pytest.raises(InputError, match=message):
        preflight(str(tmp_path), SETTINGS)


def test_rows_without_anything_are_skipped(tmp_path):
    write_table(tmp_path, HEADER + "a.png,normal\n,\n , \n,,\n")
    assert found(tmp_path) == {"a.png": "normal"}


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "..\\secret.png", "C:\\x.png"])
def test_rows_that_leave_the_folder_are_refused(tmp_path, name):
    root = tmp_path / "data"
    root.mkdir()
    touch(tmp_path, "secret.png")
    write_table(root, HEADER + f'"{name}",normal\n')
    (refusal,) = discover(str(root), make_plan(str(root), SETTINGS), SETTINGS)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == Reason.PATH_TRAVERSAL
    assert "line 2" in refusal.detail


def test_a_row_without_a_label(tmp_path):
    write_table(tmp_path, HEADER + "a.png,\n")
    assert found(tmp_path) == {"a.png": "!no_label"}


def test_a_label_that_is_null(tmp_path):
    write_table(tmp_path, '{"filename": "a.png", "label": null}\n', "labels.jsonl")
    assert found(tmp_path) == {"a.png": "!no_label"}


def read_one(root: Path, settings: DataSettings) -> list[Image | Refusal]:
    plan = make_plan(str(root), settings)
    references = [
        item for item in discover(str(root), plan, settings) if isinstance(item, Reference)
    ]
    return list(Reading(str(root), plan.kind, settings).read(references))


def test_a_row_without_its_file(tmp_path):
    write_table(tmp_path, HEADER + "a.png,normal\n")
    (refusal,) = read_one(tmp_path, SETTINGS)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == Reason.MISSING_FILE


def test_a_name_listed_twice(tmp_path, xray, encode):
    (tmp_path / "a.png").write_bytes(encode(xray()))
    write_table(tmp_path, HEADER + "a.png,normal\na.png,Healthy\n")
    first, second = read_one(tmp_path, SETTINGS)
    assert {type(first), type(second)} == {Image, Refusal}
    write_table(tmp_path, HEADER + "a.png,normal\na.png,covid\n")
    (refusal,) = read_one(tmp_path, SETTINGS)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == Reason.CONFLICTING_LABELS
    assert "covid" in refusal.detail


def test_an_image_outside_any_class_folder(tmp_path, xray, encode):
    (tmp_path / "a.png").write_bytes(encode(xray()))
    (refusal,) = read_one(tmp_path, SETTINGS)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == Reason.NO_LABEL


def test_sidecars(tmp_path, xray, encode):
    settings = DataSettings(label_source="sidecar")
    for name, sidecar in {
        "good": '{"label": "covid", "patient_id": "p1", "source": "here"}',
        "broken": "{",
        "list": "[]",
        "silent": "{}",
        "lost": None,
    }.items():
        (tmp_path / f"{name}.png").write_bytes(encode(xray()))
        if sidecar is not None:
            (tmp_path / f"{name}.json").write_text(sidecar)
    items = {
        getattr(item, "name", getattr(item, "path", "")): item
        for item in read_one(tmp_path, settings)
    }
    good = items.pop("good.png")
    assert isinstance(good, Image)
    assert (good.label, good.source) == (CLASSES.index("covid"), "here")
    assert good.patient not in ("", "p1")
    assert {name: item.reason for name, item in items.items()} == {
        "broken.png": "bad_sidecar",
        "list.png": "bad_sidecar",
        "silent.png": "no_label",
        "lost.png": "bad_sidecar",
    }


def test_which_sidecar_is_read(tmp_path, xray, encode):
    """The suffix is that of the file, not what comes after any dot before it."""
    settings = DataSettings(label_source="sidecar")
    folder = tmp_path / "export.v2"
    folder.mkdir()
    for number, (name, sidecar) in enumerate(
        [
            ("IM0001", "IM0001.json"),
            ("1.2.840.1", "1.2.840.1.json"),
            ("a.png", "a.png.json"),
            ("b.png", "b.json"),
        ]
    ):
        (folder / name).write_bytes(encode(xray(number)))
        (folder / sidecar).write_text('{"label": "covid"}')
    (folder / "lost").write_bytes(encode(xray(9)))
    items = {getattr(item, "name", ""): item for item in read_one(tmp_path, settings)}
    refusal = items.pop("")
    assert sorted(items) == [
        f"export.v2/{name}" for name in ("1.2.840.1", "IM0001", "a.png", "b.png")
    ]
    assert refusal.path == "export.v2/lost"
    assert refusal.detail == "sidecar lost.json: no such file"


def test_the_patient_of_number_zero_is_one(tmp_path, xray, encode):
    for number in range(2):
        (tmp_path / f"{number}.png").write_bytes(encode(xray(number)))
    line = '{{"filename": "{}.png", "label": "normal", "patient_id": 0}}\n'
    write_table(tmp_path, line.format(0) + line.format(1), "labels.jsonl")
    first, second = read_one(tmp_path, SETTINGS)
    assert isinstance(first, Image)
    assert first.patient == second.patient != ""
    (tmp_path / "0.json").write_text('{"label": "normal", "patient_id": 0}')
    (beside,) = (
        item
        for item in read_one(tmp_path, DataSettings(label_source="sidecar"))
        if isinstance(item, Image)
    )
    assert beside.patient == first.patient


def test_the_dicom_tag_as_label(tmp_path):
    from pydicom import dcmread
    from pydicom.data import get_testdata_file

    dataset = dcmread(str(get_testdata_file("MR_small.dcm")))
    dataset.ImageComments = "Viral Pneumonia"
    dataset.save_as(tmp_path / "IM0001")
    settings = DataSettings(label_source="dicom", dicom_label_tag="ImageComments")
    (image,) = read_one(tmp_path, settings)
    assert isinstance(image, Image)
    assert image.label == CLASSES.index("viral")
    with pytest.raises(InputError, match="dicom_label_tag"):
        make_plan(str(tmp_path), DataSettings(label_source="dicom"))


def test_patients_from_file_names(tmp_path, xray, encode):
    for name in ("person7_virus_1", "person7_virus_2", "person8_virus_1"):
        touch(tmp_path, f"viral/{name}.png").joinpath(f"viral/{name}.png").write_bytes(
            encode(xray())
        )
    settings = DataSettings(patient_pattern="person([0-9]+)_")
    patients = {item.name: item.patient for item in read_one(tmp_path, settings)}
    assert patients["viral/person7_virus_1.png"] == patients["viral/person7_virus_2.png"]
    assert len(set(patients.values())) == 2
    assert patient_in_name("viral/virus_1.png", "(person[0-9]+_)?virus") == ""


def test_the_pattern_of_patients_is_for_the_name_of_the_file(tmp_path, xray, encode):
    touch(tmp_path, *(f"{name}/p7_{name}.png" for name in CLASSES))
    for name in CLASSES:
        (tmp_path / name / f"p7_{name}.png").write_bytes(encode(xray()))
    anchored = DataSettings(patient_pattern="^(p[0-9]+)_")
    assert len({item.patient for item in read_one(tmp_path, anchored)} - {""}) == 1
    assert preflight(str(tmp_path), anchored).notes == ()
    folders = DataSettings(patient_pattern="^(covid|normal)/")
    assert {item.patient for item in read_one(tmp_path, folders)} == {""}
    (note,) = preflight(str(tmp_path), folders).notes
    assert "finds no patient in any file name" in note
    assert "p7_" in note


def test_an_empty_folder(tmp_path):
    with pytest.raises(InputError, match=r"no images in .*a folder for each class"):
        preflight(str(tmp_path), SETTINGS)


def test_an_empty_table(tmp_path):
    write_table(tmp_path, HEADER)
    with pytest.raises(InputError, match="no images in"):
        preflight(str(tmp_path), SETTINGS)


def test_a_missing_class_is_named(tmp_path):
    touch(tmp_path, "normal/a.png", "viral/b.png")
    with pytest.raises(InputError, match=r"no image of class bacterial, covid .*1 normal, 1 viral"):
        preflight(str(tmp_path), SETTINGS)


def test_unknown_labels_are_listed_with_their_counts(tmp_path):
    touch(tmp_path, *(f"{name}/a.png" for name in CLASSES))
    touch(tmp_path, "tuberculosis/a.png", "tuberculosis/b.png", "asthma/a.png")
    with pytest.raises(InputError, match=r"(?s)2  tuberculosis\n +1  asthma\n.*class_aliases"):
        preflight(str(tmp_path), SETTINGS)
    assert preflight(str(tmp_path), DataSettings(drop_unknown_labels=True)).images == 7
    mapped = DataSettings(class_aliases={"tuberculosis": "bacterial", "asthma": "normal"})
    assert preflight(str(tmp_path), mapped).per_class["bacterial"] == 3


def test_an_escape_sequence_in_a_label_does_not_reach_the_terminal(tmp_path):
    write_table(tmp_path, HEADER + FOUR + "a.png,\x1b]0;title\x07\n")
    with pytest.raises(InputError) as error:
        preflight(str(tmp_path), SETTINGS)
    assert "\x1b" not in str(error.value)
    assert "\\x1b" in str(error.value)


def test_two_kinds_of_tables(tmp_path):
    write_table(tmp_path, HEADER + FOUR)
    write_table(tmp_path, '{"filename": "a.png", "label": "normal"}\n', "more.jsonl")
    with pytest.raises(InputError, match="label_file"):
        preflight(str(tmp_path), SETTINGS)
    assert found(tmp_path, DataSettings(label_file="more.jsonl")) == {"a.png": "normal"}


@pytest.mark.parametrize(
    ("label_file", "message"),
    [
        ("none.csv", "does not exist"),
        ("../t.csv", "must lie in"),
        ("a.xlsx", "neither"),
        ("blind.csv", "lacks the column"),
    ],
)
def test_a_label_file_that_cannot_be_used(tmp_path, label_file, message):
    write_table(tmp_path, "filename\na.png\n", "blind.csv")
    with pytest.raises(InputError, match=message):
        preflight(str(tmp_path), DataSettings(label_file=label_file))


def test_asking_for_a_table_that_is_not_there(tmp_path):
    touch(tmp_path, "normal/a.png")
    with pytest.raises(InputError, match="no CSV file with the columns"):
        preflight(str(tmp_path), DataSettings(label_source="csv"))


def test_when_everything_is_refused_the_reasons_are_listed(tmp_path):
    write_table(tmp_path, HEADER + "../a.png,normal\n")
    with pytest.raises(InputError, match="path_traversal"):
        preflight(str(tmp_path), SETTINGS)


def test_preflight_of_real_xrays(cxr4):
    result = preflight(str(cxr4), SETTINGS)
    assert result.per_class == {"normal": 350, "bacterial": 350, "viral": 350, "covid": 77}


def test_checking_a_folder_needs_neither_tensorflow_nor_tfx():
    import subprocess
    import sys

    code = (
        "import sys, components.ingestion.preflight, components.ingestion.fingerprint;"
        "sys.exit(any(name in sys.modules for name in ('tensorflow', 'tfx', 'apache_beam')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

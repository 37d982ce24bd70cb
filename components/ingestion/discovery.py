"""Which images a data root holds, and what it says about each: no image is opened here."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from posixpath import basename, dirname

from components.ingestion import archives, storage, tables
from components.ingestion.names import printable, safe_relative
from components.ingestion.references import EVERY_MEMBER, Reference
from components.ingestion.refusals import Reason, Refusal, RefusedError
from components.ingestion.settings import DataSettings
from models.errors import InputError

COMPANIONS = (".csv", ".tsv", ".json", ".jsonl", ".txt", ".md", ".xml", ".yaml", ".yml", ".log")
"""Files that lie beside images without being meant as images."""
LITTER = frozenset({"thumbs.db", "desktop.ini", "dicomdir"})


@dataclass(frozen=True)
class Plan:
    """How to read a data root.

    Attributes:
        kind: `folder`, `csv`, `jsonl`, `dicom` or `sidecar`.
        tables: the label tables, relative to the root.
        notes: what a person should know about the choice.
    """

    kind: str
    tables: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def make_plan(root: str, settings: DataSettings) -> Plan:
    """Decides where the labels come from.

    Raises:
        InputError: the root is no folder, or lacks what `data.label_source` asks for.
    """
    source = settings.label_source
    if source in ("dicom", "sidecar", "folder"):
        if source == "dicom" and not settings.dicom_label_tag:
            raise InputError(
                "data.label_source=dicom needs data.dicom_label_tag, such as ImageComments"
            )
        _require_folder(root)
        return Plan(source)
    if settings.label_file:
        _require_folder(root)
        return _one_table(root, settings)
    labelled, notes = _find_tables(root, settings)
    if labelled:
        kinds = {_table_kind(name) for name in labelled}
        if len(kinds) > 1:
            raise InputError(
                f"both CSV and JSONL tables in {printable(root)}: choose with "
                "--set data.label_file=NAME"
            )
        return Plan(kinds.pop(), tuple(labelled), tuple(notes))
    if source != "auto":
        raise InputError(
            f"no {source.upper()} file with the columns {settings.filename_column!r} and "
            f"{settings.label_column!r} in {printable(root)}"
        )
    return Plan("folder", notes=tuple(notes))


def _require_folder(root: str) -> None:
    next(storage.walk(root), None)


def _one_table(root: str, settings: DataSettings) -> Plan:
    try:
        name = safe_relative(settings.label_file)
    except ValueError as error:
        raise InputError(f"data.label_file must lie in the data folder: {error}") from error
    kind = _table_kind(name)
    path = storage.join(root, name)
    if not storage.exists(path):
        raise InputError(f"data.label_file {printable(path)} does not exist")
    if not tables.has_labels(path, root, settings):
        raise InputError(
            f"{printable(path)} lacks the column {settings.filename_column!r} or "
            f"{settings.label_column!r}: see data.filename_column and data.label_column"
        )
    return Plan(kind, (name,))


def _table_kind(name: str) -> str:
    for kind, suffixes in tables.SUFFIXES.items():
        if name.lower().endswith(suffixes):
            return kind
    raise InputError(f"{printable(name)} is neither a .csv, a .tsv nor a .jsonl file")


def _find_tables(root: str, settings: DataSettings) -> tuple[list[str], list[str]]:
    """Returns the labelled tables at the top of the root, and notes about the others."""
    wanted = tables.SUFFIXES.get(settings.label_source) or sum(tables.SUFFIXES.values(), ())
    labelled, notes = [], []
    names = sorted(
        file.name
        for file in storage.walk(root)
        if file.problem is None and "/" not in file.name and file.name.lower().endswith(wanted)
    )
    for name in names:
        if tables.has_labels(storage.join(root, name), root, settings):
            labelled.append(name)
        else:
            notes.append(
                f"{printable(name)} has no column {settings.label_column!r} beside "
                f"{settings.filename_column!r}: not training data, ignored"
            )
    return labelled, notes


def discover(root: str, plan: Plan, settings: DataSettings) -> Iterator[Reference | Refusal]:
    """Yields every image that `plan` finds below `root`, one at a time.

    A tar archive of a folder counts as one reference, with `EVERY_MEMBER`: only reading it
    tells what is in it.
    """
    if plan.tables:
        for table in plan.tables:
            yield from _from_table(root, table, settings)
    else:
        yield from _from_folders(root, labelled_by_folder=plan.kind == "folder")


def unlabelled(root: str) -> Iterator[Reference | Refusal]:
    """Yields every image below `root`, wherever it lies, with no label."""
    return _from_folders(root, labelled_by_folder=False)


def _from_folders(root: str, labelled_by_folder: bool) -> Iterator[Reference | Refusal]:
    for file in storage.walk(root):
        if not is_candidate(file.name):
            continue
        if file.problem is not None:
            yield file.problem.to_refusal(file.name)
            continue
        reference = Reference(name=file.name, container=file.path)
        if archives.is_zip(file.name):
            found = _zip_members(reference, root)
        elif archives.is_archive(file.name):
            yield replace(reference, member=EVERY_MEMBER)
            continue
        else:
            found = iter([reference])
        for item in found:
            if labelled_by_folder and isinstance(item, Reference):
                item = replace(item, label=folder_label(item.name))
            yield item


def folder_label(name: str) -> str:
    """Returns the folders that image `name` lies in; those of an archive continue its own's."""
    parts = dirname(name).split("/")
    return "/".join(part for part in parts if not archives.is_archive(part))


def is_candidate(name: str) -> bool:
    """Whether a file of this name could be meant as an image."""
    last = basename(name).lower()
    parts = [part for part in name.split("/") if part not in (".", "..")]
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    return not (hidden or last in LITTER or last.endswith(COMPANIONS))


def _zip_members(archive: Reference, root: str) -> Iterator[Reference | Refusal]:
    try:
        with archives.Zip(archive.container, root) as members:
            for member in members.names():
                item = member_reference(archive, member)
                if isinstance(item, Refusal) or is_candidate(item.name):
                    yield item
    except RefusedError as refused:
        yield refused.to_refusal(archive.name)


def member_reference(archive: Reference, member: str) -> Reference | Refusal:
    """Returns the reference to `member` of an archive, or why its name is refused."""
    try:
        name = f"{archive.name}/{safe_relative(member)}"
    except ValueError as error:
        refused = RefusedError(Reason.PATH_TRAVERSAL, str(error))
        return refused.to_refusal(f"{archive.name}/{member}")
    return replace(archive, name=name, member=member)


def _from_table(root: str, table: str, settings: DataSettings) -> Iterator[Reference | Refusal]:
    locate = _locator(root, table)
    for row in tables.rows(storage.join(root, table), root, settings):
        where = f"{table}, line {row.line}"
        try:
            name = locate(safe_relative(row.filename))
        except ValueError as error:
            yield RefusedError(Reason.PATH_TRAVERSAL, f"{where}: {error}").to_refusal(row.filename)
            continue
        if not row.label:
            refused = RefusedError(Reason.NO_LABEL, f"{where}: the label is empty")
            yield refused.to_refusal(row.filename)
            continue
        container, member = archives.split_path(name)
        yield Reference(
            name=name,
            container=storage.join(root, container),
            member=member,
            label=row.label,
            patient=row.patient,
            source=row.source,
        )


def _locator(root: str, table: str) -> Callable[[str], str]:
    """Returns a function from a name in `table` to the name relative to `root`.

    Images of `train.csv` are looked for in `train/`, `images/`, beside the table, and in
    `train.zip` or `train.tar`. A name that is nowhere is reported as in the first of these.
    """
    stem = table[: table.rindex(".")]
    parent = dirname(table)
    places = [stem, f"{parent}/images" if parent else "images", parent]
    folders = [
        place for place in places if not place or storage.is_folder(storage.join(root, place))
    ]
    packed = [
        stem + suffix
        for suffix in archives.SUFFIXES
        if storage.exists(storage.join(root, stem + suffix))
    ]

    def locate(name: str) -> str:
        candidates = [f"{place}/{name}" if place else name for place in folders]
        for candidate in candidates:
            container, _ = archives.split_path(candidate)
            if storage.exists(storage.join(root, container)):
                return candidate
        return f"{packed[0]}/{name}" if packed else candidates[0]

    return locate

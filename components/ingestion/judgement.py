"""Whether what was refused leaves a data set worth going on with."""

from collections import Counter
from collections.abc import Iterable

from components.ingestion import archives
from components.ingestion.labels import require_known
from components.ingestion.names import printable
from components.ingestion.refusals import Reason, Refusal, listing
from components.ingestion.settings import DataSettings
from models.errors import InputError

_FOLDERS = (Reason.UNREADABLE_FOLDER, Reason.SYMLINKED_FOLDER)


def judge_inputs(
    root: str, refusals: Iterable[Refusal], accepted: int, settings: DataSettings
) -> None:
    """Stops over unknown labels, lost archives and folders, and too many refused inputs.

    Args:
        root: the data root, for the messages.
        refusals: of all inputs below it.
        accepted: the number of images that can be used.

    Raises:
        InputError: listing the culprits.
    """
    refused = list(refusals)
    unknown = Counter(one.detail for one in refused if one.reason == Reason.UNKNOWN_LABEL.value)
    require_known(unknown, settings)
    require_whole(root, refused, settings)
    bad = [one for one in refused if Reason(one.reason).bad]
    total = len(refused) + accepted
    if len(bad) > settings.max_bad_fraction * total:
        raise InputError(
            f"{len(bad)} of {total} inputs in {printable(root)} are unusable, more than "
            f"data.max_bad_fraction = {settings.max_bad_fraction:g} allows:\n{listing(bad)}\n"
            "Repair or remove them, or raise the limit with --set data.max_bad_fraction=SHARE"
        )


def require_whole(root: str, refusals: Iterable[Refusal], settings: DataSettings) -> None:
    """Stops if an archive or a folder is lost, unless `max_bad_fraction` allows any loss.

    As one input of many it would pass under every limit, though most images may be in it. An
    archive in an archive is not one of these: it is never read, wherever it comes from.

    Raises:
        InputError: listing them.
    """
    lost = [one for one in refusals if _holds_many(one)]
    if lost and settings.max_bad_fraction < 1:
        raise InputError(
            f"whole archives or folders in {printable(root)} cannot be read, and nobody knows "
            f"how many images they hold:\n{listing(lost)}\nRepair or remove them"
        )


def _holds_many(refusal: Refusal) -> bool:
    reason = Reason(refusal.reason)
    if reason in _FOLDERS:
        return True
    return reason.bad and reason != Reason.NESTED_ARCHIVE and archives.is_archive(refusal.path)

"""From whatever a data set calls a class to one of the four."""

import re
from collections import Counter
from collections.abc import Mapping

from components.ingestion.names import printable
from components.ingestion.settings import DEFAULT_ALIASES, DataSettings
from models.errors import InputError
from models.features import CLASSES


class LabelMap:
    """Maps label texts to class indices; case, spaces, `_` and `-` do not matter."""

    def __init__(self, aliases: Mapping[str, str], folders: bool) -> None:
        """Makes the map.

        Args:
            aliases: `DataSettings.class_aliases`; the default ones are added.
            folders: whether labels are paths of folders. Of what somebody wrote into a table,
                no part is left out: `bacterial/viral` says that it is not clear.
        """
        self._folders = folders
        names = {**{name: name for name in CLASSES}, **DEFAULT_ALIASES, **aliases}
        self._indices = {_normal_form(alias): CLASSES.index(name) for alias, name in names.items()}

    def index(self, text: str) -> int | None:
        """Returns the class of `text` as an index into `CLASSES`, or None if unknown.

        A path of folders such as `train/pneumonia/bacteria` is tried whole, then without its
        first folder, and so on: the innermost folders say what an image shows.
        """
        parts = text.split("/")
        for start in range(len(parts)) if self._folders else (0,):
            index = self._indices.get(_normal_form("/".join(parts[start:])))
            if index is not None:
                return index
        return None


def _normal_form(text: str) -> str:
    return re.sub(r"[\s_-]+", " ", text).strip().casefold()


def require_known(unknown: Counter[str], settings: DataSettings) -> None:
    """Stops over `unknown` labels (with their counts), unless they are to be dropped.

    Raises:
        InputError: listing every unknown label with the number of its images.
    """
    if not unknown or settings.drop_unknown_labels:
        return
    listed = "\n".join(f"  {count:6d}  {printable(text)}" for text, count in unknown.most_common())
    raise InputError(
        f"unknown labels:\n{listed}\n"
        f"The classes are {', '.join(CLASSES)}. Map a label with "
        "--set 'data.class_aliases={LABEL: CLASS}', or leave these images out with "
        "--set data.drop_unknown_labels=true"
    )


def require_every_class(counts: Mapping[str, int], data_root: str) -> None:
    """Stops if a class has no image.

    Raises:
        InputError: naming the missing classes and what was found.
    """
    missing = [name for name in CLASSES if not counts.get(name)]
    if missing:
        found = ", ".join(f"{counts[name]} {name}" for name in CLASSES if counts.get(name))
        raise InputError(
            f"no image of class {', '.join(missing)} in {printable(data_root)} "
            f"(found: {found or 'none'}): the classifiers need all of {', '.join(CLASSES)}"
        )

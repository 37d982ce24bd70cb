"""Whether a data folder has changed since the last run."""

import hashlib

from components.ingestion import storage


def fingerprint(data_root: str) -> str:
    """Returns a digest of the names, sizes and modification times below `data_root`.

    TFX caches a node by its properties; this is the one that changes with the data. The
    files' digests are added up, which needs neither an order nor memory for the names.

    Raises:
        InputError: `data_root` is not a folder.
    """
    total = 0
    count = 0
    for file in storage.walk(data_root):
        name = file.name.encode("utf-8", "surrogateescape")
        entry = b"%d:%s%d:%r" % (len(name), name, file.size, file.modified)
        total += int.from_bytes(hashlib.sha256(entry).digest(), "big")
        count += 1
    total %= 1 << 256
    return hashlib.sha256(b"%d:%d" % (count, total)).hexdigest()

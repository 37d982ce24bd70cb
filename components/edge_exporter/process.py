"""Runs the conversion in a process of its own, so that an abort is an error message."""

import signal
import subprocess
import sys
from pathlib import Path

from absl import logging

from components.edge_exporter.build_request import Request

_BUILD = "components.edge_exporter.build"
_SHOWN_LINES = 15


def run_build(request: Request, scratch: Path, timeout: float) -> None:
    """Runs `components.edge_exporter.build` on `request`.

    Raises:
        RuntimeError: it failed, was killed by a signal, or took over `timeout` seconds.
    """
    file = scratch / "request.json"
    file.write_text(request.to_json(), encoding="utf-8")
    try:
        process = subprocess.run(
            [sys.executable, "-m", _BUILD, str(file)],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
            cwd=scratch,  # `-m` looks for modules there first: not among the user's files
        )
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(
            f"the TFLite conversion took over {timeout:g} s and was stopped: raise "
            "edge.timeout_seconds, or lower edge.calibration_images"
        ) from error
    if process.returncode == 0:
        logging.info("Edge build: %s", process.stdout.strip())
        return
    how = f"exit status {process.returncode}"
    if process.returncode < 0:
        how = f"the converter aborted: {signal.Signals(-process.returncode).name}"
    words = "\n".join(process.stderr.strip().splitlines()[-_SHOWN_LINES:])
    raise RuntimeError(f"the TFLite conversion failed ({how}). Its last words:\n{words}")

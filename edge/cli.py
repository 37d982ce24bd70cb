"""The command line of the runtime alone: `coronet-edge predict` and `coronet-edge serve`.

The same two commands are part of `coronet`, for those who have the whole project.
"""

import argparse
import sys
from pathlib import Path

from edge import predicting
from edge.errors import EdgeError

_USAGE_ERROR = 2


def main(arguments: list[str] | None = None) -> int:
    """Runs a command; returns the exit status (2: bad input, with one line saying why)."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "predict":
            return predicting.predict(
                options.bundle, options.images, options.json, options.explain, options.threads
            )
        from edge import server

        server.serve(options.bundle, options.host, options.port, options.runtime, options.threads)
        return 0
    except EdgeError as error:
        print(f"coronet-edge: {error}", file=sys.stderr)
        return _USAGE_ERROR


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="coronet-edge",
        description="Classify chest X-rays on this device. Not a medical device.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    predict = commands.add_parser("predict", help="classify image files")
    predict.add_argument("bundle", type=Path, help="push/ folder of a run, or its edge/ folder")
    predict.add_argument("images", type=Path, nargs="+", help="images, or folders of them")
    predict.add_argument("--json", action="store_true", help="one JSON object a line")
    predict.add_argument("--explain", type=Path, help="folder for occlusion overlays")
    predict.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    serve = commands.add_parser("serve", help="a local web page")
    serve.add_argument("bundle", type=Path, help="push/ folder of a run, or its edge/ folder")
    serve.add_argument("--host", default="127.0.0.1", help="address (default: this machine only)")
    serve.add_argument("--port", type=int, default=8000, help="0 takes a free one (default: 8000)")
    serve.add_argument(
        "--runtime",
        choices=("auto", "browser", "python"),
        default="auto",
        help="where inference runs (default: in the browser, if it can)",
    )
    serve.add_argument("--threads", type=int, default=1, help="with inference in Python")
    return parser


if __name__ == "__main__":
    sys.exit(main())

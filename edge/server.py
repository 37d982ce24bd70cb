"""`coronet serve`: a local page that classifies an X-ray where it is, offline.

With the JavaScript runtime installed, this server only hands out files and the browser
does all the work. Without it, the page posts the image to this very process.
"""

import base64
import hashlib
import io
import ipaddress
import json
import mimetypes
import os
import re
import socket
import sys
import threading
import traceback
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from PIL import Image

from edge import saliency, web_runtime
from edge.classifier import Classifier
from edge.errors import EdgeError
from edge.metadata import FILE_NAME, MODEL_FILE, PREPROCESS_FILE

RUNTIMES: Final = ("auto", "browser", "python")
MAX_UPLOAD_BYTES: Final = 64 * 1024 * 1024

_PAGE_FILES = ("index.html", "app.js", "images.js", "inference.js", "tflite.js", "style.css")
_MODEL_FILES = (FILE_NAME, PREPROCESS_FILE, MODEL_FILE)
_IMPORT_MAP = re.compile(r'<script type="importmap">(.*?)</script>', re.DOTALL)
_SOCKET_SECONDS = 30
_ANY_ADDRESS = ("", "0.0.0.0", "::")


@dataclass(frozen=True)
class Site:
    """What is served.

    Attributes:
        classifier: the model, checked at the start.
        modules: `node_modules` of the page's runtime; None has this process infer.
        lock: held while the classifier runs, which is not safe to share.
    """

    classifier: Classifier
    modules: Path | None
    lock: threading.Lock

    @property
    def runtime(self) -> str:
        """Where inference runs: `browser` or `python`."""
        return "python" if self.modules is None else "browser"


def open_site(bundle: str | Path, runtime: str, threads: int = 1) -> Site:
    """Loads the model, and finds or installs the page's runtime.

    Args:
        bundle: see `Classifier`.
        runtime: `browser` insists on it, `python` does without, `auto` prefers the browser.
        threads: of inference in this process.

    Raises:
        EdgeError: no usable model; or `browser`, and there is no JavaScript runtime.
    """
    if runtime not in RUNTIMES:
        raise EdgeError(f"runtime must be one of {', '.join(RUNTIMES)}; received {runtime!r}")
    classifier = Classifier(bundle, threads)
    modules = None
    if runtime != "python":
        try:
            modules = web_runtime.find() or web_runtime.install()
        except EdgeError as error:
            if runtime == "browser":
                raise
            print(f"inference runs in this process, not in the browser: {error}")
    return Site(classifier, modules, threading.Lock())


def make_server(site: Site, host: str, port: int) -> ThreadingHTTPServer:
    """Returns a server that is bound and ready for `serve_forever`; port 0 takes a free one.

    Raises:
        EdgeError: the address cannot be had.
    """
    try:
        return _Server(site, host, port)
    except (OSError, OverflowError) as error:
        raise EdgeError(
            f"cannot serve on {_bracketed(host)}:{port}: {error}; choose another port or host"
        ) from error


def serve(bundle: str | Path, host: str, port: int, runtime: str, threads: int = 1) -> None:
    """Serves until interrupted; arguments as for `open_site` and `make_server`."""
    site = open_site(bundle, runtime, threads)
    with make_server(site, host, port) as server:
        where = "the browser" if site.runtime == "browser" else "this Python process"
        port = server.server_port
        print(f"http://{_bracketed(host)}:{port}/  (inference in {where}; Ctrl+C stops)")
        if host in _ANY_ADDRESS:
            print(f"From other devices: http://{_mdns_name()}:{port}/, or this machine's address.")
        print(site.classifier.metadata.disclaimer, flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


class _Server(ThreadingHTTPServer):
    def __init__(self, site: Site, host: str, port: int) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), partial(_Handler, site))

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says what failed, never who asked; a client that left is no failure."""
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            traceback.print_exc()


class _Handler(BaseHTTPRequestHandler):
    server_version = "coronet"
    sys_version = ""
    timeout = _SOCKET_SECONDS

    def __init__(self, site: Site, *arguments: Any) -> None:
        self._site = site
        super().__init__(*arguments)

    def do_GET(self) -> None:
        if not self._is_local_request():
            return
        path = unquote(self.path.partition("?")[0])
        if path == "/status.json":
            self._send_json({"runtime": self._site.runtime, "maxBytes": MAX_UPLOAD_BYTES})
            return
        file = self._find(path)
        if file is None or not os.path.isfile(file):
            self._send_error(HTTPStatus.NOT_FOUND, "there is no such page")
            return
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        if file.suffix == ".js":
            kind = "text/javascript"
        self._send(HTTPStatus.OK, file.read_bytes(), kind)

    do_HEAD = do_GET  # noqa: N815 (the name that http.server calls)

    def do_POST(self) -> None:
        if not self._is_local_request():
            return
        if self._site.runtime != "python" or self.path != "/predict":
            self._send_error(HTTPStatus.NOT_FOUND, "inference runs in the browser")
            return
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            self._send_error(HTTPStatus.LENGTH_REQUIRED, "the request has no length")
            return
        if int(length) > MAX_UPLOAD_BYTES:
            self._send_error(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"the file is over the limit of {MAX_UPLOAD_BYTES:,} bytes",
            )
            return
        image = self.rfile.read(int(length))
        try:
            answer = _answer(self._site, image)
        except EdgeError as error:
            self._send_error(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
        except Exception as error:  # the page shows it, and the next image may well be answered
            traceback.print_exc()
            self._send_error(
                HTTPStatus.INTERNAL_SERVER_ERROR, f"this image cannot be classified: {error!r}"
            )
        else:
            self._send_json(answer)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: who looked at which image is nobody's business."""

    def _is_local_request(self) -> bool:
        """Refuses what another site's page sent, directly or by rebinding its own name."""
        host = self.headers.get("Host", "")
        origin = self.headers.get("Origin")
        if _is_own_name(host) and origin in (None, f"http://{host}"):
            return True
        self._send_error(
            HTTPStatus.FORBIDDEN,
            f"open this page as {_mdns_name()} or by the machine's address, not by another name",
        )
        return False

    def _find(self, path: str) -> Path | None:
        """The file behind a URL: one of a few names, or below a folder of the runtime."""
        name = path.removeprefix("/") or "index.html"
        if name in _PAGE_FILES:
            return web_runtime.WEB / name
        folder, _, rest = name.partition("/")
        if folder == "edge" and rest in _MODEL_FILES:
            return self._site.classifier.folder / rest
        if self._site.modules is None or folder not in web_runtime.MODULES:
            return None
        root = (self._site.modules / web_runtime.MODULES[folder]).resolve()
        try:
            file = (root / rest).resolve()
        except ValueError:  # a name with a zero byte
            return None
        return file if file.is_relative_to(root) else None

    def _send_json(self, content: dict[str, Any], status: HTTPStatus = HTTPStatus.OK) -> None:
        self._send(status, json.dumps(content).encode(), "application/json")

    def _send_error(self, status: HTTPStatus, message: str) -> None:
        self.close_connection = True  # the body of a refused request is not read
        self._send_json({"error": message}, status)

    def _send(self, status: HTTPStatus, content: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        for name, value in _SECURITY_HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _answer(site: Site, image: bytes) -> dict[str, Any]:
    with site.lock:
        prediction = site.classifier.predict(image)
        lost = saliency.occlusion(site.classifier, prediction.model_image, prediction.label)
    png = io.BytesIO()
    Image.fromarray(prediction.model_image).save(png, "PNG")
    return {
        "label": prediction.label,
        "probabilities": prediction.probabilities,
        "unfamiliarity": prediction.unfamiliarity,
        "modelImage": base64.b64encode(png.getvalue()).decode(),
        "lost": lost.tolist(),
    }


def _is_own_name(host: str) -> bool:
    """Whether a Host header can be ours: an address, localhost or this machine's name.

    A page that rebinds DNS comes with the name of its own site.
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
        if name in ("localhost", socket.gethostname().lower(), _mdns_name()):
            return True
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _mdns_name() -> str:
    """This machine's name in the local network, as a Raspberry Pi or a Mac announces it."""
    return f"{socket.gethostname().lower().partition('.')[0]}.local"


def _bracketed(host: str) -> str:
    """`host` as a URL holds it."""
    return f"[{host}]" if ":" in host else host


def _import_map_hash() -> str:
    found = _IMPORT_MAP.search((web_runtime.WEB / "index.html").read_text(encoding="utf-8"))
    assert found is not None
    return base64.b64encode(hashlib.sha256(found.group(1).encode()).digest()).decode()


_SECURITY_HEADERS: Final = {
    # The page can connect to nothing but this server: the image stays on the device.
    "Content-Security-Policy": "; ".join(
        [
            "default-src 'none'",
            f"script-src 'self' 'wasm-unsafe-eval' 'sha256-{_import_map_hash()}'",
            "worker-src 'self' blob:",
            "connect-src 'self'",
            "img-src 'self' blob: data:",
            "style-src 'self'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        ]
    ),
    # Threads in WebAssembly need a page that is isolated from other sites.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

"""The local server: what it hands out, and what it refuses."""

import http.client
import json
import re
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge import Classifier, EdgeError, cli, server, web_runtime


@pytest.fixture(scope="module")
def port(edge_model: Path) -> Iterator[int]:
    """Port of a server with inference in this process."""
    site = server.open_site(edge_model, "python")
    with server.make_server(site, "127.0.0.1", 0) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield running.server_port
        running.shutdown()


def ask(port: int, method: str, path: str, body: bytes | None = None, **headers: str):
    """Returns status, headers and content of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.putrequest(method, path, skip_host="Host" in headers)
        if body is not None and "Content-Length" not in headers:
            headers["Content-Length"] = str(len(body))
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def test_the_page_loads_what_it_links_to(port):
    status, headers, page = ask(port, "GET", "/")
    assert status == 200
    assert headers["Content-Type"].startswith("text/html")
    links = re.findall(r'(?:src|href)="(/[^"]+)"', page.decode())
    assert links
    for link in links:
        assert ask(port, "GET", link)[0] == 200, link


def test_pages_are_isolated_and_can_connect_to_this_server_only(port):
    _, headers, _ = ask(port, "GET", "/")
    policy = headers["Content-Security-Policy"]
    assert "connect-src 'self'" in policy
    assert "default-src 'none'" in policy
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert headers["Cache-Control"] == "no-store"


def test_an_image_is_classified_as_by_the_classifier(port, edge_model, sample_folder):
    image = next((sample_folder / "train").iterdir()).read_bytes()
    status, _, content = ask(port, "POST", "/predict", image)
    answer = json.loads(content)
    expected = Classifier(edge_model).predict(image)
    assert status == 200
    assert answer["label"] == expected.label
    assert answer["probabilities"] == pytest.approx(expected.probabilities)
    assert len(answer["lost"]) == len(answer["lost"][0])


def test_a_bad_image_is_an_error_message(port):
    status, _, content = ask(port, "POST", "/predict", b"not an image")
    assert status == 422
    assert "cannot be decoded" in json.loads(content)["error"]


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:80",
        "127.0.0.1.evil.example",
        "evil.local",
        f"{socket.gethostname()}.local.evil.example",
        "",
        "[",
        "[::1",
    ],
)
def test_a_rebound_name_is_refused(port, host):
    assert ask(port, "GET", "/", Host=host)[0] == 403
    assert ask(port, "POST", "/predict", b"x", Host=host)[0] == 403


@pytest.mark.parametrize(
    "host",
    [
        "localhost:8000",
        "127.0.0.1",
        "[::1]:8000",
        socket.gethostname(),
        f"{socket.gethostname()}.local:8000",
    ],
)
def test_own_names_are_taken(port, host):
    assert ask(port, "GET", "/", Host=host)[0] == 200


def test_a_refused_name_is_told_which_to_open(port):
    message = json.loads(ask(port, "GET", "/", Host="evil.example")[2])["error"]
    assert f"{socket.gethostname()}.local" in message


@pytest.mark.parametrize("path", ["/", "/status.json", "/nothing"])
def test_head_is_get_without_the_content(port, path):
    status, headers, content = ask(port, "GET", path)
    assert ask(port, "HEAD", path)[0] == status
    assert ask(port, "HEAD", path)[1]["Content-Length"] == str(len(content))
    assert ask(port, "HEAD", path)[2] == b""
    assert headers["Content-Length"] == str(len(content))


def test_another_sites_page_is_refused(port):
    own = f"http://127.0.0.1:{port}"
    assert ask(port, "POST", "/predict", b"", Origin="https://evil.example")[0] == 403
    assert ask(port, "POST", "/predict", b"", Origin="null")[0] == 403
    assert ask(port, "POST", "/predict", b"", Origin=own)[0] == 422


def test_large_and_unmeasured_uploads_are_refused_unread(port):
    too_long = str(server.MAX_UPLOAD_BYTES + 1)
    assert ask(port, "POST", "/predict", b"", **{"Content-Length": too_long})[0] == 413
    assert ask(port, "POST", "/predict", b"", **{"Content-Length": "many"})[0] == 411


@pytest.mark.parametrize(
    "path",
    [
        "/../server.py",
        "/%2e%2e/server.py",
        "/litert/../../package.json",
        "/edge/../edge.json",
        "/edge/model_float32.tflite",
        "/nothing",
        "/web_runtime.py",
        "/wasm/%2e%2e/package.json",
        "http://[",
    ],
)
def test_nothing_else_is_handed_out(port, path):
    assert ask(port, "GET", path, Host="localhost")[0] == 404


def test_modules_do_not_lead_out_of_their_folder(edge_model, tmp_path):
    for folder in web_runtime.MODULES.values():
        (tmp_path / "node_modules" / folder).mkdir(parents=True)
    (tmp_path / "node_modules/@litertjs/core/dist/index.js").write_text("export {}")
    (tmp_path / "secret.js").write_text("secret")
    site = server.Site(Classifier(edge_model), tmp_path / "node_modules", threading.Lock())
    with server.make_server(site, "127.0.0.1", 0) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        port = running.server_port
        assert ask(port, "GET", "/litert/index.js")[0] == 200
        assert ask(port, "GET", "/litert/../../../../secret.js")[0] == 404
        assert ask(port, "GET", "/litert/%2e%2e/%2e%2e/%2e%2e/%2e%2e/secret.js")[0] == 404
        assert ask(port, "GET", "/litert/%00")[0] == 404
        assert ask(port, "GET", f"/litert/{'x' * 5000}")[0] == 404
        assert ask(port, "POST", "/predict", b"x")[0] == 404  # the browser infers
        running.shutdown()


def test_without_node_inference_falls_back_to_python_and_says_so(
    edge_model, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(web_runtime, "find", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert server.open_site(edge_model, "auto").runtime == "python"
    assert "Node" in capsys.readouterr().out
    with pytest.raises(EdgeError, match="Node"):
        server.open_site(edge_model, "browser")


def test_a_cache_that_cannot_be_made_falls_back_to_python_and_says_so(
    edge_model, tmp_path, monkeypatch, capsys
):
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\n")
    npm.chmod(0o755)
    monkeypatch.setattr(web_runtime, "find", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(npm))  # a file, where a folder would go
    assert server.open_site(edge_model, "auto").runtime == "python"
    assert "cannot be installed" in capsys.readouterr().out
    with pytest.raises(EdgeError, match="XDG_CACHE_HOME"):
        server.open_site(edge_model, "browser")


def test_npm_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    npm = tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text("#!/bin/sh\nmkdir node_modules\necho 'no network' >&2\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{npm.parent}:/bin:/usr/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(EdgeError, match="no network"):
        web_runtime.install()
    assert list((tmp_path / "cache" / "coronet").iterdir()) == []


def test_a_port_in_use_is_named(edge_model, port, capsys):
    assert cli.main(["serve", str(edge_model), "--runtime", "python", "--port", str(port)]) == 2
    assert str(port) in capsys.readouterr().err


def test_clients_that_leave_are_passed_over_in_silence(port, sample_folder, capfd):
    image = next((sample_folder / "train").iterdir()).read_bytes()
    for sent in (image, image[:100]):
        with socket.create_connection(("127.0.0.1", port)) as client:
            # Closed with bytes unread, a connection is reset.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(image)}\r\n"
            client.sendall(f"{head}\r\n".encode() + sent)
    status, _, _ = ask(port, "POST", "/predict", image)  # waits for the one before
    assert status == 200
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


def test_an_unforeseen_failure_is_an_answer_and_names_no_client(port, monkeypatch, capfd):
    monkeypatch.setattr(server, "_answer", lambda site, image: 1 / 0)
    status, _, content = ask(port, "POST", "/predict", b"x")
    assert status == 500
    assert "ZeroDivisionError" in json.loads(content)["error"]
    monkeypatch.undo()
    monkeypatch.setattr(server._Handler, "_find", lambda self, path: 1 / 0)
    with pytest.raises(http.client.RemoteDisconnected):
        ask(port, "GET", "/")
    said = capfd.readouterr().err
    assert said.count("ZeroDivisionError") == 2
    assert "127.0.0.1" not in said


def test_an_ipv6_address_is_served(edge_model):
    if not socket.has_ipv6:
        pytest.skip("NOT RUN over IPv6: this machine has none")
    site = server.open_site(edge_model, "python")
    with server.make_server(site, "::1", 0) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        connection = http.client.HTTPConnection("::1", running.server_port, timeout=30)
        connection.request("GET", "/status.json")
        assert connection.getresponse().status == 200
        connection.close()
        running.shutdown()


def test_serving_all_addresses_names_one_to_open(edge_model, monkeypatch, capsys):
    monkeypatch.setattr(server._Server, "serve_forever", lambda self: None)
    server.serve(edge_model, "0.0.0.0", 0, "python")
    assert f"http://{socket.gethostname().lower()}.local:" in capsys.readouterr().out
    server.serve(edge_model, "::1", 0, "python")
    shown = capsys.readouterr().out
    assert "http://[::1]:" in shown
    assert ".local" not in shown


def test_an_unknown_runtime_is_refused(edge_model):
    with pytest.raises(EdgeError, match="auto, browser, python"):
        server.open_site(edge_model, "gpu")


def test_the_lock_file_names_no_registry_and_hashes_everything():
    lock = json.loads((web_runtime.WEB / "package-lock.json").read_text())
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert packages
    for name, entry in packages.items():
        assert entry["integrity"].startswith("sha512-"), name
        assert "resolved" not in entry

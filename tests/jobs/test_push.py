"""push, against a local server that answers as the hub does and keeps what it was sent."""

import base64
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from audio_tokens.jobs import cli

COMMIT = "0" * 40
TOKEN = "hf_abcdefghijklmnopqrstuvwxyz0123456789"


class Hub(ThreadingHTTPServer):
    """The little of the hub's interface that an upload uses; `refuses` is the status that makes no repository."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.files: dict[str, bytes] = {}
        self.tokens: set[str | None] = set()
        self.refuses: int | None = None
        self.made: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answers(BaseHTTPRequestHandler):
    server: Hub

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length")
        body = self.rfile.read(int(length)) if length else b"".join(self._chunks())
        self.server.tokens.add(self.headers.get("Authorization"))
        if self.path == "/api/repos/create":
            if self.server.refuses:
                return self._answer({"error": "refused"}, self.server.refuses)
            self.server.made.append(json.loads(body))
            return self._answer({"url": f"{self.server.url}/me/model", "name": "me/model"})
        if self.path.endswith("/preupload/main"):
            files = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in json.loads(body)["files"]
            ]
            return self._answer({"files": files})
        if self.path.endswith("/commit/main"):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.server.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            return self._answer({"commitUrl": f"{self.server.url}/me/model/commit/{COMMIT}", "commitOid": COMMIT})
        return self._answer({"errors": [], "warnings": []})  # of the card

    def do_GET(self) -> None:
        """The files of the one model there is, and their list."""
        files = self.server.files
        if files and self.path.startswith(f"/api/models/me/model/tree/{COMMIT}"):
            rows = [{"type": "file", "path": name, "size": len(data), "oid": COMMIT} for name, data in files.items()]
            return self._answer(rows)
        if files and self.path.startswith("/api/models/me/model"):
            return self._answer({"id": "me/model", "sha": COMMIT, "siblings": []})
        data = files.get(self.path.partition(f"/me/model/resolve/{COMMIT}/")[2])
        return self._send(data, 200, "application/octet-stream") if data else self._answer({"error": "not here"}, 404)

    do_HEAD = do_GET

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()

    def _answer(self, values: Any, status: int = 200) -> None:
        self._send(json.dumps(values).encode(), status, "application/json")

    def _send(self, data: bytes, status: int, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", hashlib.sha256(data).hexdigest())
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    import huggingface_hub.constants

    with Hub() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setattr(
            huggingface_hub.constants, "ENDPOINT", server.url
        )  # HF_ENDPOINT is read once, at its import
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield server
        server.shutdown()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """What a run's model folder looks like: a card, weights, a folder below."""
    folder = tmp_path / "run" / "model"
    (folder / "codebook").mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "audio-tokens"}')
    (folder / "README.md").write_text("---\nlicense: other\n---\n# A model\n")
    (folder / "model.safetensors").write_bytes(bytes(range(256)))
    (folder / "codebook" / "config.json").write_text("{}")
    return folder


def test_all_files_of_the_model_arrive_and_the_token_is_told_to_nobody_else(
    hub: Hub, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["push", "--run", str(model.parent), "--to", "me/model", "--private"]) == 0
    sent = {path.relative_to(model).as_posix(): path.read_bytes() for path in model.rglob("*") if path.is_file()}
    assert hub.files == sent
    assert "private" in json.dumps(hub.made)
    assert hub.tokens == {f"Bearer {TOKEN}"}
    out, err = capsys.readouterr()
    assert f"{hub.url}/me/model/commit/" in out
    assert TOKEN not in out + err


def found(hub_url: str, name: str, cache: Path) -> str:
    """What a process of its own finds, since HF_ENDPOINT is read once, when the hub's client is imported."""
    code = (
        "from audio_tokens.engine.systems.tagging import find_model as f; import sys; print(f.find_model(sys.argv[1]))"
    )
    environment = os.environ | {"HF_ENDPOINT": hub_url, "HF_HUB_CACHE": str(cache)}
    done = subprocess.run(
        [sys.executable, "-c", code, name], env=environment, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or done.stderr.splitlines()[-1]


def test_what_was_pushed_is_found_by_its_name(hub: Hub, model: Path, tmp_path: Path) -> None:
    assert cli.main(["push", "--run", str(model), "--to", "me/model", "--quiet"]) == 0
    folder = Path(found(hub.url, "me/model", tmp_path / "cache"))
    assert folder.is_dir(), folder
    assert {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()} == (
        hub.files
    )
    assert "UserError: me/other is neither a folder nor found" in found(hub.url, "me/other", tmp_path / "cache")
    assert "UserError: me/no name is neither" in found(hub.url, "me/no name", tmp_path / "cache")
    assert "UserError: HF_ENDPOINT is '127.0.0.1:1'; it begins" in found("127.0.0.1:1", "me/model", tmp_path / "cache")


@pytest.mark.parametrize(("status", "remedy"), [(401, "HF_TOKEN"), (403, "right to write"), (500, "500")])
def test_a_refusal_is_one_line_with_its_remedy(
    status: int, remedy: str, hub: Hub, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.refuses = status
    assert cli.main(["push", "--run", str(model), "--to", "me/model"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert remedy in error
    assert TOKEN not in error


def test_a_hub_out_of_reach_and_other_mistakes(
    hub: Hub, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:1")
    for words, said in (
        (["--run", str(model), "--to", "me/model"], "cannot be reached"),
        (["--run", str(model), "--to", "model"], "OWNER/NAME"),
        (["--run", str(model / "codebook" / "gone"), "--to", "me/model"], "there is no"),
    ):
        assert cli.main(["push", *words]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1

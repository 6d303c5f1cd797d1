"""push, against a local server that answers as the hub does and keeps what it was sent."""

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from audio_tokens.jobs import cli

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
            return self._answer({"commitUrl": f"{self.server.url}/me/model/commit/{'0' * 40}", "commitOid": "0" * 40})
        return self._answer({"errors": [], "warnings": []})  # of the card

    def do_GET(self) -> None:
        self._answer({"error": "not here"}, 404)

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()

    def _answer(self, values: dict[str, Any], status: int = 200) -> None:
        data = json.dumps(values).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
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

"""Servers on loopback: a web server with ranges, a bucket as S3 speaks it, and a data set as a hub does."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import escape


class Served:
    """Where a server listens, and how often it was asked for what.

    The next requests but HEAD meet `faults`, one each: the number of an answer like 503, `cut` (half the body, then the
    end of the connection) or `silent` (no answer at all).
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.requests: Counter[str] = Counter()
        self.faults: list[str] = []


class Answering(BaseHTTPRequestHandler):
    """GET and HEAD have one answer, with and without its body."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        raise AssertionError("each server has its own")


@contextmanager
def serve(folder: Path, *, s3: bool = False, lists: bool = True) -> Iterator[Served]:
    """Serve `folder`; as the bucket `audio` where `s3`, else with an HTML index where `lists`."""

    class Handler(Answering):
        def answer(self, *, body: bool) -> None:
            parts = urlsplit(self.path)
            path = unquote(parts.path).lstrip("/")
            self.fault = served.faults.pop(0) if body and served.faults else ""
            if self.fault == "silent":
                time.sleep(1)
                self.close_connection = True
                return None
            if self.fault.isdecimal():
                return self.send(int(self.fault), b"", "text/plain", body)
            if s3:
                bucket, _, path = path.partition("/")
                if bucket == "audio" and not path:
                    return self.send(200, bucket_listing(folder, parse_qs(parts.query)), "application/xml", body)
            file = folder / path
            if file.is_dir() and lists and not s3:
                links = "".join(f'<a href="{quote(f.name)}{"/" * f.is_dir()}">x</a>' for f in sorted(file.iterdir()))
                return self.send(200, f"<html>{links}</html>".encode(), "text/html", body)
            if not file.is_file():
                return self.send(404, b"", "text/plain", body)
            data, wanted = file.read_bytes(), self.headers.get("Range")
            if wanted is None:
                served.requests["whole" if body else "head"] += 1
                return self.send(200, data, "application/octet-stream", body)
            served.requests["range"] += 1
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, stop = int(first), min(len(data), int(last) + 1 if last else len(data))
            self.send(206, data[start:stop], "application/octet-stream", body, f"bytes {start}-{stop - 1}/{len(data)}")

        def send(self, code: int, data: bytes, kind: str, body: bool, content_range: str | None = None) -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("ETag", '"0"')
            self.send_header("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
            if content_range:
                self.send_header("Content-Range", content_range)
            self.end_headers()
            if body:
                self.wfile.write(data[: len(data) // 2] if self.fault == "cut" else data)
                self.close_connection |= self.fault == "cut"

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served = Served(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def bucket_listing(folder: Path, query: dict[str, list[str]]) -> bytes:
    """Answer ListObjectsV2, with or without a delimiter."""
    prefix, delimiter = query.get("prefix", [""])[0], query.get("delimiter", [""])[0]
    files = {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    contents, folders = [], set()
    for name in sorted(name for name in files if name.startswith(prefix)):
        rest = name[len(prefix) :]
        if delimiter and delimiter in rest:
            folders.add(prefix + rest.split(delimiter)[0] + delimiter)
            continue
        contents.append(
            f"<Contents><Key>{escape(name)}</Key><Size>{files[name]}</Size><ETag>0</ETag>"
            "<LastModified>2024-01-01T00:00:00.000Z</LastModified><StorageClass>STANDARD</StorageClass></Contents>"
        )
    common = "".join(f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>" for name in sorted(folders))
    return (
        '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>audio</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{len(contents) + len(folders)}</KeyCount>"
        f"<MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>{''.join(contents)}{common}</ListBucketResult>"
    ).encode()


@contextmanager
def serve_hub(folder: Path, name: str) -> Iterator[str]:
    """Serve `folder` as the data set `name` of a hub, and yield the address that clients take for the hub's."""

    class Handler(Answering):
        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers["Content-Length"])).decode()
            paths = parse_qs(asked).get("paths") or json.loads(asked if asked.startswith("{") else "{}").get(
                "paths", []
            )
            self.say([entry(folder / path) for path in paths if (folder / path).exists()], body=True)

        def answer(self, *, body: bool) -> None:
            path = unquote(urlsplit(self.path).path)
            if path.startswith(f"/api/datasets/{name}/tree/main"):
                below = folder / path.removeprefix(f"/api/datasets/{name}/tree/main").strip("/")
                everything = "recursive=true" in self.path.lower()
                return self.say(
                    [entry(file) for file in sorted(below.rglob("*") if everything else below.iterdir())], body
                )
            if path.startswith(f"/api/datasets/{name}"):
                return self.say({"id": name, "sha": "0" * 40, "siblings": []}, body)
            prefix = f"/datasets/{name}/resolve/main/"
            file = folder / path.removeprefix(prefix)
            if not path.startswith(prefix) or not file.is_file():
                return self.send(404, b"{}", body)
            data, wanted = file.read_bytes(), self.headers.get("Range")
            if wanted is None:
                return self.send(200, data, body)
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            self.send(206, data[int(first) : int(last) + 1 if last else len(data)], body)

        def say(self, value: object, body: bool) -> None:
            self.send(200, json.dumps(value).encode(), body)

        def send(self, code: int, data: bytes, body: bool) -> None:
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.send_header("ETag", '"0"')
            self.send_header("X-Repo-Commit", "0" * 40)
            self.end_headers()
            if body:
                self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    def entry(file: Path) -> dict[str, object]:
        about: dict[str, object] = {"path": file.relative_to(folder).as_posix(), "oid": "0" * 40}
        return about | (
            {"type": "directory", "size": 0} if file.is_dir() else {"type": "file", "size": file.stat().st_size}
        )

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()

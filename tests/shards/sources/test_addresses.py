"""What a list may name, and how many names braces may make."""

import os
import time
from contextlib import suppress
from pathlib import Path

import pytest
from braceexpand import braceexpand
from hypothesis import given
from hypothesis import strategies as st

from audio_tokens.errors import ClipError, UserError, masked
from audio_tokens.shards.sources.addresses import reach
from audio_tokens.shards.sources.addresses.braces import braced, most_names
from audio_tokens.shards.sources.addresses.reach import is_plain_file, named_by, permitted
from audio_tokens.shards.sources.files import find_files, open_file
from audio_tokens.shards.sources.listed import _read


@pytest.mark.parametrize(
    ("list_url", "name", "url"),
    [
        ("/data/list.txt", "a/b.tar", "/data/a/b.tar"),
        ("list.txt", "b.tar", "./b.tar"),
        ("/data/list.txt", "/other/b.tar", "/other/b.tar"),
        ("/data/list.txt", "../b.tar", "/data/../b.tar"),
        ("/data/list.txt", "https://host/b.tar", "https://host/b.tar"),
        ("/data/list.txt", "s3://bucket/b.tar", "s3://bucket/b.tar"),
        ("https://host/x/list.txt", "b.tar", "https://host/x/b.tar"),
        ("https://host/x/list.txt", "https://host/x/y/b.tar", "https://host/x/y/b.tar"),
    ],
)
def test_a_list_names_what_lies_where_it_may_reach(list_url: str, name: str, url: str) -> None:
    assert named_by(list_url, name) == url


@pytest.mark.parametrize(
    "name",
    [
        *("/etc/passwd.tar", "../b.tar", "y/../../b.tar", "y/%2e%2e/%2E%2E/b.tar", "..\\b.tar"),
        *("https://other/b.tar", "https://host/xx/b.tar", "file:///etc/b.tar", "s3://bucket/b.tar"),
    ],
)
@pytest.mark.parametrize(
    "list_url", ["https://host/x/list.txt", "s3://bucket/x/list.txt", "hf://datasets/a/b/list.txt"]
)
def test_a_list_from_elsewhere_names_only_what_lies_below_it(list_url: str, name: str) -> None:
    with pytest.raises(UserError, match="does not lie below it"):
        named_by(list_url, name)


@pytest.mark.parametrize(
    ("url", "scheme"),
    [
        ("ftp://host/a.tar", "ftp"),
        ("zip://a.tar::https://host/a.zip", "zip"),
        ("simplecache::s3://bucket/a.tar", "simplecache"),
        ("file:///a::reference://b", "reference"),
    ],
)
def test_other_schemes_and_chains_want_allow(url: str, scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "_allowed", set())
    for refuses in (lambda: permitted(url), lambda: named_by("/data/list.txt", url), lambda: find_files(url, ".tar")):
        with pytest.raises(UserError, match=f"--allow {scheme}"):
            refuses()
    reach.allow([scheme])
    assert permitted(url) == url


def test_what_is_no_file_of_a_disk_is_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    (tmp_path / "file").write_bytes(b"x")
    for path in (tmp_path / "pipe", tmp_path / "link", Path("/dev/null"), Path("/proc/self/environ")):
        assert not is_plain_file(path)
        with pytest.raises(ClipError, match="not a regular file"):
            _read(tmp_path, str(path))
        with pytest.raises(UserError, match="not a regular file"):
            open_file(str(path))
    assert is_plain_file(tmp_path / "file")
    assert _read(tmp_path, "file") == b"x"


@pytest.mark.parametrize(
    "pattern",
    [
        "x{0..99999999}.tar",
        "{a,b}" * 24 + ".tar",
        "{0..9}" * 9,
        "{1..1" + "0" * 5000 + "}",
    ],
)
def test_braces_that_stand_for_too_many_names_are_refused_at_once(pattern: str) -> None:
    start = time.monotonic()
    with pytest.raises(UserError, match=r"^[^\n]{1,500}$"):
        braced(pattern)
    assert time.monotonic() - start < 5, "counted, not made"


@given(st.text("{},.ab019", max_size=14))
def test_braces_make_no_more_names_than_are_counted(pattern: str) -> None:
    with suppress(ValueError):  # they do not pair, or make no range
        if (most := most_names(pattern)) <= 2000:
            assert len(list(braceexpand(pattern))) <= most


def test_passwords_and_keys_are_masked() -> None:
    assert masked("https://me:secret@host/a.csv failed") == "https://***@host/a.csv failed"
    assert masked("https://host/a?X-Amz-Signature=abc&part=1") == "https://host/a?X-Amz-Signature=***&part=1"
    assert masked("s3://bucket/a?token=abc") == "s3://bucket/a?token=***"
    assert masked("csv:/home/a@b/list.csv") == "csv:/home/a@b/list.csv"

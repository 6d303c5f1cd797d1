"""A server that falters is asked again; one that does not answer is named in one line."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import s3fs

from audio_tokens.errors import UserError
from audio_tokens.jobs import cli
from audio_tokens.shards.dataset.manifest import Dataset
from audio_tokens.shards.sources.addresses import remote
from audio_tokens.shards.sources.addresses.remote import open_url
from audio_tokens.shards.sources.files import find_files, open_file
from audio_tokens.shards.tasks.commit import commit
from audio_tokens.shards.tasks.task import run_task
from audio_tokens.shards.tasks.task_folder import prepare
from tests.shards.sources.servers import Served, serve
from tests.shards.tasks.toy_build import listed, toy_tasks

DATA = os.urandom(30_000)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "WAITS_S", (0.01, 0.02, 0.04))
    monkeypatch.setattr(remote, "SILENCE_S", 0.2)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    (tmp_path / "a.tar").write_bytes(DATA)
    with serve(tmp_path) as found:
        yield found


@pytest.mark.parametrize("fault", ["503", "429", "cut", "silent"])
def test_a_part_of_a_file_is_asked_for_again(fault: str, served: Served) -> None:
    with open_file(f"{served.url}/a.tar") as file:
        served.faults = [fault] * 3
        file.seek(20_000)
        assert file.read() == DATA[20_000:]
    assert not served.faults


def test_a_listing_is_asked_for_again(served: Served) -> None:
    served.faults = ["502", "500"]
    assert [file.name for file in find_files(f"{served.url}/", ".tar")] == ["a.tar"]
    assert not served.faults


@pytest.mark.parametrize("fault", ["503", "silent"])
def test_a_server_that_never_answers_is_named_in_one_line(fault: str, served: Served) -> None:
    served.faults = [fault] * 1000
    said = r"cannot be read: http\S+ fails, 4 times in a row \(.+\); see that the address is right and its server up"
    with pytest.raises(UserError, match=said):
        find_files(f"{served.url}/", ".tar")
    with pytest.raises(UserError, match=said):
        Dataset.open(f"{served.url}/s")
    assert len(served.faults) > 980  # bounded


def test_a_server_that_is_down_is_not_taken_for_one_without_the_file(served: Served, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_url(f"{served.url}/none.tar")
    served.faults = ["503"] * 4  # HEAD says that there is none, GET nothing
    with pytest.raises(ConnectionError, match="503"):
        open_url(f"{served.url}/none.tar")
    with pytest.raises(UserError, match=r"http://127.0.0.1:9/\S* fails, 4 times in a row \(Cannot connect"):
        Dataset.open("http://127.0.0.1:9/s")


def test_a_command_says_it_in_one_line(served: Served, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    served.faults = ["503"] * 1000
    assert cli.main(f"cluster --shards {served.url}/s --out {tmp_path}/c".split()) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"{served.url}/s" in said
    assert cli.main(f"train --shards {served.url}/s --system raw-linear --out {tmp_path}/r".split()) == 2
    assert "copy it to a local folder first" in capsys.readouterr().err


def test_a_bucket_that_falters_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"ACCESS_KEY_ID": "k", "SECRET_ACCESS_KEY": "s", "DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    (tmp_path / "a.tar").write_bytes(DATA)
    with serve(tmp_path, s3=True) as served:
        monkeypatch.setenv("AWS_ENDPOINT_URL", served.url)
        s3fs.S3FileSystem.clear_instance_cache()
        served.faults = ["503", "500"]
        with open_file("s3://audio/a.tar") as file:
            assert file.read() == DATA
        assert not served.faults


def test_shards_from_elsewhere_name_only_what_lies_below_them(tmp_path: Path) -> None:
    tasks = toy_tasks(tmp_path / "s")
    prepare(tasks, listed(tasks), force=False)
    for index, task in listed(tasks):
        run_task(tasks, index, task)
    assert commit(tasks, [index for index, _ in listed(tasks)])
    dataset = tmp_path / "s" / "dataset.json"
    whole, first = dataset.read_text(), Dataset.open(tmp_path / "s").shards[0].name
    with serve(tmp_path) as served:
        for name in ("../../secret.tar", "..%2fsecret.tar", "/etc/passwd"):
            dataset.write_text(whole.replace(first, name))
            with pytest.raises(UserError, match=r"does not lie below|is damaged"):
                list(Dataset.open(f"{served.url}/s").read(0))


def test_another_scheme_is_refused_wherever_shards_are_opened(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from audio_tokens.shards.sources.addresses import reach

    monkeypatch.setattr(reach, "_allowed", set())
    for words in (
        f"cluster --shards memory://s --out {tmp_path}/c",
        f"run --source wds:memory://s/a.tar --work {tmp_path}/w",
    ):
        assert cli.main(words.split()) == 2
        assert "--allow memory permits it" in capsys.readouterr().err
        assert cli.main([*words.split(), "--allow", "memory"]) == 2
        said = capsys.readouterr().err
        assert "there is no" in said or "there are no" in said
        reach._allowed.clear()


def test_errors_that_are_no_lost_connection_stay_as_they_are() -> None:
    missing = FileNotFoundError(errno.ENOENT, "none")
    assert remote.told(missing, "http://x") is missing

"""push: a trained model goes to the Hugging Face hub, from where AudioTagger and `predict` load it by its name."""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from audio_tokens.errors import UserError
from audio_tokens.jobs.command import command
from audio_tokens.jobs.display.loudness import say

HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, kw_only=True)
class Push:
    """Upload a model's folder to the Hugging Face hub, as it is.

    The token is the one of `hf auth login`, or of the environment variable HF_TOKEN.

    Args:
        run: the folder of a run or of a model
        to: the name it gets on the hub, OWNER/NAME
        private: make a new repository private
        message: what the commit says
    """

    run: str
    to: str
    private: bool = False
    message: str = "A model of audio-tokens"

    def __post_init__(self) -> None:
        if not HUB_NAME.fullmatch(self.to):
            raise UserError(f"--to {self.to}: it must be OWNER/NAME, as the hub names models")


def push(job: Push) -> None:
    """Make the repository where there is none, upload the model in one commit, and print its address."""
    from audio_tokens.engine.systems.tagging.find_model import find_model, hub_address

    if not Path(job.run).exists():
        raise UserError(f"there is no {job.run}; `audio-tokens train` makes RUN, and RUN/model is a model")
    folder = find_model(job.run)

    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    hub = HfApi(endpoint=hub_address(), library_name="audio-tokens")
    network: tuple[type[Exception], ...] = (OSError, *_http_errors(HfHubHTTPError))
    say(f"push: {folder} -> {hub.endpoint}/{job.to}")
    try:
        hub.create_repo(job.to, private=job.private or None, exist_ok=True)
        commit = hub.upload_folder(repo_id=job.to, folder_path=folder, commit_message=job.message)
    except LocalTokenNotFoundError:
        raise UserError(f"{hub.endpoint} wants a token; `hf auth login` keeps one, or set HF_TOKEN") from None
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else None
        raise UserError(f"{hub.endpoint} refuses {job.to} ({REFUSALS.get(status, _reason(error))})") from None
    except network as error:
        raise UserError(
            f"{hub.endpoint} cannot be reached ({_reason(error)}); see to the network, HTTPS_PROXY or HF_ENDPOINT, and "
            "give the same command again"
        ) from None
    print(f"push: {commit.commit_url}")


def _http_errors(kind: type[Exception]) -> list[type[Exception]]:
    """Return what the client's own HTTP library, another one in each of its releases, calls its errors."""
    return [base for base in kind.__mro__ if base.__name__ == "HTTPError" and issubclass(base, Exception)]


REFUSALS = {
    401: "401: no valid token; `hf auth login` keeps one, or set HF_TOKEN",
    403: "403: the token may not write there; make one with the right to write, or choose another --to",
    404: "404: there is no such owner, or the token may not see it; choose another --to",
    409: "409: it is being changed by someone else; try again",
}


def _reason(error: Exception) -> str:
    return f"{' '.join(str(error).split()):.200}"


def main(argv: Sequence[str] | None = None) -> int:
    return command(Push, push, argv)


if __name__ == "__main__":
    sys.exit(main())

"""Where a trained model lies: in a run, in a folder of its own, on the hub; light, for mistakes are told first."""

from pathlib import Path

from audio_tokens.errors import UserError


def find_model(where: str | Path) -> Path:
    """Return the folder of the model that RUN, RUN/model or the hub's `owner/name` means; the last is downloaded.

    Raises UserError where there is none.
    """
    path = Path(where)
    for folder in (path / "model", path):
        if (folder / "config.json").is_file():
            return folder
    if path.exists() or str(where).count("/") != 1:
        raise UserError(f"{where} holds no model; `audio-tokens train` makes RUN, and RUN/model is one")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    hub = hub_address()
    try:
        return Path(snapshot_download(str(where)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{where} is neither a folder nor found on the hub {hub} ({reason:.300}); see that the name, the network "
            "and HF_ENDPOINT are right, or download it once and name its folder"
        ) from None


def hub_address() -> str:
    """Return the address of the hub, another one where HF_ENDPOINT says so. Raises UserError where that is none."""
    from huggingface_hub import constants

    if not constants.ENDPOINT.startswith(("http://", "https://")):
        raise UserError(f"HF_ENDPOINT is {constants.ENDPOINT!r}; it begins with https:// or http://")
    return constants.ENDPOINT

"""Files behind URLs, read with patience: a server that falters is asked again after growing waits, and then named.

s3fs, gcsfs and the hub's own client ask again by themselves; fsspec's web client does not, and takes every failure of a
server for a file that is not there.
"""

import asyncio
from typing import TYPE_CHECKING, Any, cast

import fsspec

if TYPE_CHECKING:
    from io import IOBase

    from aiohttp import ClientRequest, ClientResponse
    from aiohttp.client_middlewares import ClientHandlerType

WAITS_S = (0.5, 2.0, 8.0)  # before each further try
CONNECT_S, SILENCE_S = 10.0, 30.0  # how long a server may take to be reached, and to say anything more
FALTERING = (408, 429, 500, 502, 503, 504)  # the states of a server that may be another in a moment
MISSING = (404, 410)


def open_url(url: str) -> "IOBase":
    """Open a file anywhere for reading bytes. Raises FileNotFoundError where there is none, OSError for no answer."""
    file_system, path = file_system_of(url)
    try:
        return cast("IOBase", file_system.open(path, "rb"))
    except FileNotFoundError as error:
        raise told(error, url) from None


def file_system_of(url: str) -> tuple[Any, str]:
    """Return the file system of an address, with patience for web servers, and its path there."""
    schemes = {part.partition("://")[0] for part in url.split("::")}
    options: dict[str, Any] = {}
    if web := schemes & {"http", "https"}:
        from aiohttp import ClientTimeout

        timeout = ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=SILENCE_S)
        patient = {"client_kwargs": {"timeout": timeout, "middlewares": (_ask_again,)}}
        options = patient if len(schemes) == 1 else dict.fromkeys(web, patient)
    if "s3" in schemes:
        patience = {"config_kwargs": {"connect_timeout": CONNECT_S, "read_timeout": SILENCE_S}}
        options |= patience if len(schemes) == 1 else {"s3": patience}
    file_system, path = fsspec.core.url_to_fs(url, **options)
    return file_system, path


def told(error: FileNotFoundError, url: str) -> OSError:
    """Return the error as it is of a file that is not there, and of a server that fails what it said."""
    cause = error.__cause__
    if cause is None or getattr(cause, "status", None) in MISSING or isinstance(cause, FileNotFoundError):
        return error
    return cause if isinstance(cause, ConnectionError) else ConnectionError(f"{url} cannot be read: {cause}")


async def _ask_again(request: "ClientRequest", handler: "ClientHandlerType") -> "ClientResponse":
    """Send a request until it is answered: aiohttp calls this around every one.

    A part of a file (a few MB) is taken in here, so that a connection lost on the way counts too. HEAD is sent once,
    as fsspec sends GET when it fails. Raises ConnectionError where the last try fails.
    """
    from aiohttp import ClientConnectionError, ClientPayloadError

    waits_s = () if request.method == "HEAD" else WAITS_S
    for wait_s in (*waits_s, 0.0):
        try:
            response = await handler(request)
            if response.status not in FALTERING:
                if "Range" in request.headers:
                    await response.read()
                return response
            response.release()
            said = f"{response.status} {response.reason}"
        except (ClientConnectionError, ClientPayloadError, TimeoutError) as error:
            said = " ".join(str(error).split()) or f"silent for {SILENCE_S:g} s"
        await asyncio.sleep(wait_s)
    times = f"{1 + len(waits_s)} times in a row"
    raise ConnectionError(
        f"{request.url} fails, {times} ({said}); see that the address is right and its server up, and give the same "
        "command again"
    )

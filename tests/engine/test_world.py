import socket
import sys
from pathlib import Path

import pytest

from audio_tokens.engine.world import SILENT_S, _ask_the_silent

OPEN = Path("/proc/self/fd")


@pytest.mark.skipif(sys.platform != "linux", reason="the system's list of open files is Linux's")
def test_connections_are_asked_and_no_file_is_left_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as connection:
        assert not connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        before = sorted(OPEN.iterdir())
        _ask_the_silent()
        assert sorted(OPEN.iterdir()) == before
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == SILENT_S

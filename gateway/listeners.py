"""Listening sockets: made, and given up without hanging up on anybody."""

import socket
import struct
import sys
from array import array
from contextlib import suppress

# Linux, <linux/filter.h>: which packets a socket sees, as a program of classic BPF over the TCP header.
_ATTACH_FILTER = 26
_FLAGS_AT, _SYN, _SYN_ACK = 13, 0x02, 0x12
_NO_SYN = (
    (0x30, 0, 0, _FLAGS_AT),  # load the byte with the flags
    (0x54, 0, 0, _SYN_ACK),  # and
    (0x15, 0, 1, _SYN),  # unless it is SYN alone, leave out the next one
    (0x06, 0, 0, 0),  # drop it
    (0x06, 0, 0, 0x40000),  # take all of it
)


def listening_socket(host: str, port: int, *, may_share: bool = False) -> socket.socket:
    """A bound TCP socket; with `may_share` other processes that ask for the same may have its port too. Raises OSError
    with the address in its text.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if may_share:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}") from None
    sock.set_inheritable(True)
    return sock


def turn_away(listener: socket.socket) -> bool:
    """Have nobody new come to a socket whose port others listen on as well. Whether that is so.

    A request for a connection is dropped without a word. The client's system sends it again after a second: when this
    socket is closed it comes to another one. Without this, whoever connects between the last look at who waits and the
    end of the socket would be hung up on.
    """
    if sys.platform != "linux" or not listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT):
        return False
    program = array("B", b"".join(struct.pack("HBBI", *step) for step in _NO_SYN))
    with suppress(OSError):  # not every sandbox has it
        listener.setsockopt(
            socket.SOL_SOCKET, _ATTACH_FILTER, struct.pack("HP", len(_NO_SYN), program.buffer_info()[0])
        )
        return True
    return False


def waiting_at(listener: socket.socket) -> list[socket.socket]:
    """Whoever has connected and was not heard yet: the system would hang up on them with the end of the listener."""
    listener.setblocking(False)
    found = []
    try:
        while True:
            sock, _ = listener.accept()
            sock.setblocking(False)
            found.append(sock)
    except OSError:  # nobody is left
        return found

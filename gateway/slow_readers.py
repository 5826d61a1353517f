"""Clients that do not read what they asked for: noticed by the bytes that stay, without a cost for those who read."""

import asyncio
import fcntl
import struct
import termios
from collections.abc import Callable


class ReaderWatch:
    """Calls `give_up` when a client takes none of the bytes that wait for it for `stall_s` seconds."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport, stall_s: float, give_up: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._transport = transport
        self._stall_s = stall_s
        self._give_up = give_up
        self._timer: asyncio.TimerHandle | None = None
        self._unread_bytes = 0

    def start(self) -> None:
        """Bytes are left over. Does nothing while they are watched already."""
        if self._timer is None:
            self._unread_bytes = self._unread()
            self._timer = self._loop.call_later(self._stall_s, self._judge)

    def stop(self) -> None:
        """They are gone, or nobody is there any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _judge(self) -> None:
        self._timer = None
        if not self._transport.get_write_buffer_size():
            return
        if self._unread() < self._unread_bytes:
            self.start()  # slow, but reading
        else:
            self._give_up()

    def _unread(self) -> int:
        """Bytes written that the client's system has not taken: ours, and those in the kernel's buffer, which may be
        megabytes that take a slow reader minutes before ours move at all.
        """
        unread = self._transport.get_write_buffer_size()
        try:
            queued = fcntl.ioctl(self._transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, b"\0" * 4)
            unread += int(struct.unpack("i", queued)[0])
        except OSError:  # not every system tells
            pass
        return unread

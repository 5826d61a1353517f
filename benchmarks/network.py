"""A network of its own for a sitting, where the machine's would spoil the figures.

BBR spaces what it sends by timers. Between two processes of one machine this costs more than the bytes: on a machine
of two cores with BBR as its default, a chunk of a stream took ten milliseconds of processor time at times, whoever sent
it, and bare pass-through and gateway alike drowned in it. What a request costs is told by a congestion control that
sends when there is something to send.
"""

import ctypes
import fcntl
import os
import socket
import struct
from pathlib import Path

_CONTROL = Path("/proc/sys/net/ipv4/tcp_congestion_control")
PACING = frozenset({"bbr", "bbr2", "bbr3"})
_PLAIN = "reno"  # the one that every namespace may choose
# From <linux/sched.h>, <linux/sockios.h> and <linux/if.h>.
_CLONE_NEWNET = 0x40000000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1


def congestion_control() -> str:
    """The name of what TCP connections use here unless told otherwise; empty where the system does not say."""
    try:
        return _CONTROL.read_text().strip()
    except OSError:
        return ""


def leave_pacing_behind() -> str | None:
    """Move this process, and whatever it starts, into a network that has a loopback without pacing and nothing else.

    Does nothing where the default does not pace. Has to come before the first socket and the first thread. Returns a
    sentence for the user where the figures will suffer because it is not permitted (it takes root), else None.
    """
    if congestion_control() not in PACING:
        return None
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET) != 0:
        why = os.strerror(ctypes.get_errno())
        return (
            f"TCP uses {congestion_control()} here, which paces by timers even on loopback, and a network without it "
            f"was refused ({why}): run as root, or expect figures that are far too high"
        )
    _raise_loopback()
    _CONTROL.write_text(_PLAIN)
    return None


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        asked = struct.pack("16sh14x", b"lo", 0)
        (flags,) = struct.unpack_from("16xh", fcntl.ioctl(control, _SIOCGIFFLAGS, asked))
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))

"""Loaded by every Python that starts with this folder on PYTHONPATH: nothing outside this machine can be reached.

Loopback stays open, because a notebook talks to its kernel through it. Names are not looked up either.
"""

import ipaddress
import socket

_connect, _connect_ex, _getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo


def _refuse_unless_here(host) -> None:
    host = host.decode() if isinstance(host, bytes) else host
    if host in (None, "", "localhost"):
        return
    try:
        here = ipaddress.ip_address(host).is_loopback
    except ValueError:
        here = False
    if not here:
        raise OSError(f"the network is out of reach in this test: {host}")


def _checked(connect):
    def checked(self, address):
        if isinstance(address, tuple):  # a file's name is a local socket
            _refuse_unless_here(address[0])
        return connect(self, address)

    return checked


def _looked_up(host, *arguments, **options):
    _refuse_unless_here(host)
    return _getaddrinfo(host, *arguments, **options)


socket.socket.connect = _checked(_connect)
socket.socket.connect_ex = _checked(_connect_ex)
socket.getaddrinfo = _looked_up

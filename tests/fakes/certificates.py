"""A private certificate authority, made with the openssl command where and when a test needs one."""

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@dataclass
class Authority:
    """Its root is `ca_file`; `server` makes TLS contexts for servers it vouches for."""

    folder: Path

    @property
    def ca_file(self) -> str:
        return str(self.folder / "ca.pem")

    def server(
        self, name: str, *, hosts: str = "DNS:localhost,IP:127.0.0.1", is_expired: bool = False
    ) -> ssl.SSLContext:
        """A context with a certificate for `hosts`. An expired one ended yesterday."""
        key, request, certificate = (self.folder / f"{name}.{kind}" for kind in ("key", "csr", "pem"))
        extensions = self.folder / f"{name}.cnf"
        extensions.write_text(f"subjectAltName={hosts}\n")
        _openssl("req", *_NEW_KEY, "-keyout", key, "-out", request, "-subj", f"/CN={name}")
        dates = ("-days", "-1" if is_expired else "30")
        signed = ("-CA", self.folder / "ca.pem", "-CAkey", self.folder / "ca.key", "-CAcreateserial")
        _openssl("x509", "-req", "-in", request, *signed, "-extfile", extensions, "-out", certificate, *dates)
        return _context(certificate, key)

    def self_signed(self) -> ssl.SSLContext:
        """A context with a certificate that nobody vouches for."""
        key, certificate = self.folder / "alone.key", self.folder / "alone.pem"
        _root(key, certificate, "localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
        return _context(certificate, key)


def make_authority(folder: Path) -> Authority:
    """A new authority with its files in `folder`."""
    _root(folder / "ca.key", folder / "ca.pem", "Test root")
    return Authority(folder)


def _root(key: Path, certificate: Path, name: str, *more: str) -> None:
    made = (*_NEW_KEY, "-x509", "-days", "30", "-subj", f"/CN={name}")
    _openssl("req", *made, "-keyout", key, "-out", certificate, *more)


def _context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


def _openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)

"""A certificate authority and a server certificate for 127.0.0.1, made for one run by the openssl command."""

import shutil
import subprocess
from pathlib import Path


def is_available() -> bool:
    return shutil.which("openssl") is not None


def make(folder: Path) -> tuple[Path, Path, Path]:
    """CA file, certificate and key, valid for two days. Raises CalledProcessError with openssl's own words."""
    ca, ca_key, cert, key = (folder / name for name in ("ca.pem", "ca.key", "server.pem", "server.key"))
    request, extensions = folder / "server.csr", folder / "server.ext"
    new = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    _openssl(*new, "-x509", "-days", "2", "-subj", "/CN=bench CA", "-keyout", str(ca_key), "-out", str(ca))
    _openssl(*new, "-subj", "/CN=127.0.0.1", "-keyout", str(key), "-out", str(request))
    # rustls takes no CA certificate as a server's own, and asks for the address among the alternative names.
    extensions.write_text(
        "subjectAltName=IP:127.0.0.1\nbasicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth\n"
    )
    sign = ["x509", "-req", "-days", "2", "-CAcreateserial", "-CA", str(ca), "-CAkey", str(ca_key)]
    _openssl(*sign, "-in", str(request), "-extfile", str(extensions), "-out", str(cert))
    return ca, cert, key


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=30)

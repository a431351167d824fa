"""The lab's own certificate authority, token and kubeconfigs: made for one lab, readable by its user alone."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

#: A lab lives for hours; a year leaves room for a machine whose clock is wrong.
_VALID_FOR = datetime.timedelta(days=365)


@dataclass(frozen=True)
class Credentials:
    """Files that the API server and its clients need."""

    ca: Path
    certificate: Path
    key: Path
    service_account_key: Path
    tokens: Path
    token: str

    def kubeconfig(self, path: Path, server: str) -> Path:
        """Write a kubeconfig for one address of the API server, mode 0600."""
        authority = base64.b64encode(self.ca.read_bytes()).decode()
        return _write(
            path,
            f"""apiVersion: v1
kind: Config
clusters: [{{name: lblab, cluster: {{server: "{server}", certificate-authority-data: {authority}}}}}]
users: [{{name: lblab, user: {{token: "{self.token}"}}}}]
contexts: [{{name: lblab, context: {{cluster: lblab, user: lblab}}}}]
current-context: lblab
""",
        )


def make(folder: Path, addresses: Iterable[str]) -> Credentials:
    """Make the credentials of one lab.

    Args:
        folder: Where the files go; it belongs to this lab alone.
        addresses: IP addresses at which the API server is reached.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lblab")])
    ca = (
        _builder(ca_name, ca_name, ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    key = ec.generate_private_key(ec.SECP256R1())
    names: list[x509.GeneralName] = [x509.DNSName("localhost"), x509.DNSName("kubernetes.default.svc")]
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kube-apiserver")])
    certificate = (
        _builder(subject, ca_name, key.public_key())
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    token = secrets.token_urlsafe(32)
    pem = serialization.Encoding.PEM
    return Credentials(
        ca=_write(folder / "ca.crt", ca.public_bytes(pem)),
        certificate=_write(folder / "apiserver.crt", certificate.public_bytes(pem)),
        key=_write(folder / "apiserver.key", _private(key)),
        service_account_key=_write(folder / "service-account.key", _private(ec.generate_private_key(ec.SECP256R1()))),
        # https://kubernetes.io/docs/reference/access-authn-authz/authentication/#static-token-file
        tokens=_write(folder / "tokens.csv", f'{token},lblab,lblab,"system:masters"\n'),
        token=token,
    )


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + _VALID_FOR)
    )


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


def _write(path: Path, content: str | bytes) -> Path:
    data = content.encode() if isinstance(content, str) else content
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(data)
    return path

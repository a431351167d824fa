"""Reads the part of a kubeconfig that a lab's cluster uses: server, authority, token or client certificate."""

from __future__ import annotations

import base64
import binascii
import json
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import UserError


@dataclass(frozen=True)
class KubeConfig:
    """How to reach and trust one API server.

    Attributes:
        server: URL of the API server, without a trailing slash.
        tls: The TLS context for an https server, None for http.
        token: Bearer token, if the user has one.
    """

    server: str
    tls: ssl.SSLContext | None
    token: str | None


def load(path: Path) -> KubeConfig:
    """Read the current context of a kubeconfig.

    kr8s could do this too, but it leaves the certificate and key as files in /tmp and costs 0.3 s (measured, import and
    first use), which is more than everything else that lblab asks of the API server while a lab comes up.

    Raises:
        UserError: The file is missing or unreadable, or names a way to log in that lblab does not know.
    """
    try:
        text = path.read_text()
    except OSError as error:
        raise UserError(f"the kubeconfig cannot be read: {error.strerror}", file=path) from error
    document = _parse(text, path)
    try:
        wanted = document.get("current-context") or document["contexts"][0]["name"]
        context = _named(document, "contexts", wanted)["context"]
        cluster: dict[str, Any] = _named(document, "clusters", context["cluster"])["cluster"]
        user: dict[str, Any] = _named(document, "users", context["user"]).get("user") or {}
        server = str(cluster["server"]).rstrip("/")
        tls = _tls(cluster, user, path.parent) if server.startswith("https://") else None
        token = user.get("token")
        if token is None and user.get("tokenFile"):
            token = (path.parent / user["tokenFile"]).read_text().strip()
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise UserError(f"the kubeconfig lacks {error}", file=path) from error
    except (OSError, ssl.SSLError, binascii.Error) as error:
        raise UserError(f"the kubeconfig's credentials cannot be used: {error}", file=path) from error
    for unknown in ("exec", "auth-provider", "username"):
        if unknown in user:
            raise UserError(
                f"the kubeconfig logs in by {unknown!r}, lblab knows tokens and client certificates", file=path
            )
    return KubeConfig(server=server, tls=tls, token=token)


def _parse(text: str, path: Path) -> dict[str, Any]:
    # A lab writes its kubeconfig as JSON, which is YAML: no YAML parser has to be imported for it.
    try:
        document = json.loads(text)
    except json.JSONDecodeError:
        from harness import yamlfile

        documents = yamlfile.load_documents(text, path)
        document = documents[0].value if documents else None
    if not isinstance(document, dict):
        raise UserError("the kubeconfig is empty", file=path)
    return document


def _named(document: dict[str, Any], section: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] | None = next((entry for entry in document[section] if entry["name"] == name), None)
    if found is None:
        raise KeyError(f"{section}/{name}")
    return found


def _tls(cluster: dict[str, Any], user: dict[str, Any], folder: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH)
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif (authority := _pem(cluster, "certificate-authority", folder)) is not None:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cadata=authority.decode())
    # The self-made authorities of labs and of kind lack the key usage that Python 3.13 asks for by default.
    context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", ssl.VerifyFlags(0))
    certificate, key = _pem(user, "client-certificate", folder), _pem(user, "client-key", folder)
    if certificate is not None and key is not None:
        # OpenSSL loads a key from a file only; this one is mode 0600 and gone at the end of the block.
        with tempfile.NamedTemporaryFile(prefix="lblab-", suffix=".pem") as both:
            both.write(certificate + b"\n" + key)
            both.flush()
            context.load_cert_chain(both.name)
    return context


def _pem(section: dict[str, Any], field: str, folder: Path) -> bytes | None:
    if data := section.get(f"{field}-data"):
        return base64.b64decode(data, validate=False)
    if name := section.get(field):
        return Path(folder, name).read_bytes()
    return None

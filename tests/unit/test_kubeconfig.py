from __future__ import annotations

import base64
import ssl
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UserError
from harness.kube import config


def write(folder: Path, *, cluster: dict[str, Any] | None = None, user: dict[str, Any] | None = None) -> Path:
    path = folder / "kubeconfig"
    lines = ["apiVersion: v1", "kind: Config", "current-context: b", "contexts:"]
    lines += [f"- {{name: {name}, context: {{cluster: {name}, user: {name}}}}}" for name in "ab"]
    lines += ["clusters:", "- {name: a, cluster: {server: 'http://wrong'}}", "- name: b", "  cluster:"]
    lines += [f"    {key}: {value}" for key, value in (cluster or {"server": "https://127.0.0.1:6443/"}).items()]
    lines += ["users:", "- name: b", f"  user: {user or {}}", "- {name: a}"]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """A self-signed certificate and its key."""
    folder = tmp_path_factory.mktemp("pair")
    names = ["-subj", "/CN=admin", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(folder / "key"), "-out", str(folder / "certificate")]
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    subprocess.run([*make, *files, *names], check=True, capture_output=True)
    return (folder / "certificate").read_bytes(), (folder / "key").read_bytes()


def test_the_current_context_counts(tmp_path: Path) -> None:
    found = config.load(write(tmp_path, user={"token": "secret"}))
    assert (found.server, found.token) == ("https://127.0.0.1:6443", "secret")
    assert found.tls is not None


def test_plain_http_has_no_tls(tmp_path: Path) -> None:
    assert config.load(write(tmp_path, cluster={"server": "http://127.0.0.1:1"})).tls is None


def test_a_token_may_be_in_a_file_beside_the_kubeconfig(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    assert config.load(write(tmp_path, user={"tokenFile": "token"})).token == "secret"


def test_certificates_in_the_kubeconfig_leave_no_file_behind(
    tmp_path: Path, pair: tuple[bytes, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    certificate, key = (base64.b64encode(data).decode() for data in pair)
    cluster = {"server": "https://127.0.0.1:6443", "certificate-authority-data": certificate}
    user = {"client-certificate-data": certificate, "client-key-data": key}
    found = config.load(write(tmp_path, cluster=cluster, user=user))
    assert found.tls is not None
    assert found.tls.get_ca_certs(binary_form=True) == [ssl.PEM_cert_to_DER_cert(pair[0].decode())]
    assert not list(scratch.iterdir())


def test_certificates_may_be_files_beside_the_kubeconfig(tmp_path: Path, pair: tuple[bytes, bytes]) -> None:
    (tmp_path / "ca.crt").write_bytes(pair[0])
    cluster = {"server": "https://127.0.0.1:6443", "certificate-authority": "ca.crt"}
    found = config.load(write(tmp_path, cluster=cluster))
    assert found.tls is not None
    assert len(found.tls.get_ca_certs()) == 1


@pytest.mark.parametrize(
    ("user", "sentence"),
    [
        ({"exec": {"command": "x"}}, "logs in by 'exec'"),
        ({"tokenFile": "nowhere"}, "credentials cannot be used"),
        ({"client-certificate-data": "eA==", "client-key-data": "eA=="}, "credentials cannot be used"),
    ],
)
def test_credentials_that_cannot_be_used_are_named(tmp_path: Path, user: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as caught:
        config.load(write(tmp_path, user=user))
    assert caught.value.file == str(tmp_path / "kubeconfig")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("", "is empty"), ("[1]", "is empty"), ("{}", "lacks 'contexts'"), ("{a: [", "not valid YAML")],
)
def test_a_file_that_is_no_kubeconfig_is_named(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    with pytest.raises(UserError, match=sentence):
        config.load(path)


def test_a_kubeconfig_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read: No such file"):
        config.load(tmp_path / "nowhere")

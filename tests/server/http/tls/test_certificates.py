"""The certificate that is made here: what it says, how it is kept, and when it is made anew."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from server.http.tls.certificates import LASTS, RENEWED, expiry, fingerprint, self_signed
from server.http.tls.context import certificate_names, tls_context
from server.settings import SettingsError, load_settings

NOW = datetime(2026, 11, 28, tzinfo=UTC)


def names_in(path: Path) -> set[str]:
    certificate = x509.load_pem_x509_certificates(path.read_bytes())[0]
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_it_has_the_names_and_only_its_owner_reads_it(tmp_path):
    made = self_signed(tmp_path / "tls", ["assistant.example.org", "192.0.2.7", "2001:DB8:0::1"], NOW)
    wanted = {"localhost", "127.0.0.1", "::1", "assistant.example.org", "192.0.2.7", "2001:db8::1"}
    assert names_in(made.path) == names_in(made.public) == wanted
    assert expiry(made.public) == NOW + LASTS
    assert mode(made.path) == 0o600
    assert mode(made.path.parent) == 0o700
    assert b"PRIVATE KEY" in made.path.read_bytes()
    assert b"PRIVATE KEY" not in made.public.read_bytes()
    assert len(list(made.path.parent.iterdir())) == 2


def test_it_is_used_again_until_it_is_about_to_expire_or_lacks_a_name(tmp_path):
    first = fingerprint(self_signed(tmp_path, ["a.example"], NOW).path)
    assert fingerprint(self_signed(tmp_path, [], NOW + LASTS - RENEWED - timedelta(seconds=1)).path) == first
    second = fingerprint(self_signed(tmp_path, ["b.example"], NOW).path)
    assert second != first
    assert fingerprint(self_signed(tmp_path, [], NOW + LASTS - RENEWED).path) not in (first, second)


@pytest.mark.parametrize("left", [b"", b"garbage", "certificate alone", "two halves"])
def test_what_cannot_be_used_is_made_anew(tmp_path, left):
    made = self_signed(tmp_path, [], NOW)
    before = fingerprint(made.path)
    if left == "certificate alone":
        left = made.public.read_bytes()
    elif left == "two halves":
        other = self_signed(tmp_path / "other", [], NOW).path.read_bytes()
        left = other[: other.index(b"-----BEGIN CERT")] + made.public.read_bytes()
    made.path.write_bytes(left)
    made.path.chmod(0o644)
    assert fingerprint(self_signed(tmp_path, [], NOW).path) != before
    assert mode(made.path) == 0o600


def test_it_goes_by_every_name_that_is_known(monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "My-Box")
    monkeypatch.setattr("server.transports.webrtc.ice.own_addresses", lambda: ["127.0.0.1", "192.0.2.9"])
    public = ("https://assistant.example.org", "http://[2001:db8::5]:81")
    settings = {"public_origins": public, "external_address": "198.51.100.7"}
    names = certificate_names(load_settings({"host": "0.0.0.0", "api_key": "secret-key", **settings}))
    assert names == ["my-box", "198.51.100.7", "assistant.example.org", "2001:db8::5", "127.0.0.1", "192.0.2.9"]
    monkeypatch.setattr("socket.gethostname", lambda: "no name at all")
    assert certificate_names(load_settings({"host": "127.0.0.1"})) == ["127.0.0.1"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"tls_cert": "c.pem"}, "tls_key: is missing beside tls_cert"),
        ({"tls_key": "k.pem"}, "tls_cert: is missing beside tls_key"),
        ({"tls_cert": "c.pem", "tls_key": "k.pem", "tls_self_signed": True}, "tls_self_signed: there is a certificate"),
        ({"rate_limit_burst": 5}, "rate_limit_burst: needs rate_limit_per_address"),
        ({"rate_limit_per_key": -1}, "rate_limit_per_key"),
    ],
)
def test_settings_that_do_not_fit_are_refused(flags, said):
    with pytest.raises(SettingsError, match=said):
        load_settings(flags)


def refused(certificate: Path, key: Path) -> str:
    with pytest.raises(SettingsError) as caught:
        tls_context(load_settings({"tls_cert": certificate, "tls_key": key}))
    return str(caught.value)


def test_files_that_cannot_be_used_are_named(tmp_path):
    one, other = self_signed(tmp_path / "one", [], NOW), self_signed(tmp_path / "other", [], NOW)
    none, garbage = tmp_path / "none.pem", tmp_path / "garbage.pem"
    garbage.write_text("-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n")
    assert refused(none, one.path) == f"tls_cert: {none}: No such file or directory"
    assert refused(one.public, none) == f"tls_key: {none}: No such file or directory"
    assert "is not the key of that certificate" in refused(one.public, other.path)
    assert "both must be PEM" in refused(garbage, one.path)
    assert "both must be PEM" in refused(one.public, one.public)


def test_a_key_that_is_encrypted_is_refused_and_nobody_asked_for_its_password(tmp_path):
    from cryptography.hazmat.primitives import serialization

    made = self_signed(tmp_path, [], NOW)
    key = serialization.load_pem_private_key(made.path.read_bytes(), None)
    locked = tmp_path / "locked.pem"
    encryption = serialization.BestAvailableEncryption(b"password")
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    locked.write_bytes(pem)
    assert refused(made.public, locked) == "tls_key: is encrypted; give one that is not, readable by the server alone"


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(SettingsError, match="tls_self_signed: nothing can be kept in "):
        tls_context(load_settings({"tls_self_signed": True, "cache": file}))

"""TLS for the associations of both directions, by the BCP 195 profile of DICOM (PS3.15 B.9 and B.12, RFC 9325).

TLS 1.2 at least, with forward secrecy and authenticated encryption only; both sides show a certificate that an
authority of ours signed, and one that is revoked or expired is refused.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol, TypeVar

from scp_node.journal import journal

CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
)
"""Of TLS 1.2: those that RFC 9325 section 4.2 recommends, and their equals; TLS 1.3 has no others than good ones."""
LOOK_S = 10.0
"""How often the files are looked at for a change."""


Content = TypeVar("Content")


class TlsFiles(Protocol):
    """Where certificates lie; the table ``[tls]`` of ``node.toml`` says so."""

    @property
    def certificate(self) -> Path:
        """PEM: our certificate, then those between it and its authority."""

    @property
    def private_key(self) -> Path:
        """PEM."""

    @property
    def authorities(self) -> Path:
        """PEM: who may sign the peers' certificates."""

    @property
    def revocation_list(self) -> Path | None:
        """PEM: what the authorities revoked."""


class TlsFilesError(Exception):
    """Certificate, key, authorities or revocation list cannot be used; the message names the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Validity:
    """Until when something of ours is valid."""

    what: str
    file: Path
    until: datetime
    """Aware UTC."""


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """For associations that peers open.

    Raises
    ------
    TlsFilesError
        If a file cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    _fill(context, files)
    return context


def client_context(files: TlsFiles) -> ssl.SSLContext:
    """For associations that we open; the peer's certificate must name the host that was called.

    Raises
    ------
    TlsFilesError
        If a file cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _fill(context, files)
    return context


def validities(files: TlsFiles) -> list[Validity]:
    """Until when our certificate, the authorities' and the revocation lists are valid, the earliest first.

    Raises
    ------
    TlsFilesError
        If a file cannot be read.
    """
    # Only whoever tells of validities needs the library, and a receiver never does.
    from cryptography import x509  # noqa: PLC0415

    found = []
    for what, file in (("certificate", files.certificate), ("authority", files.authorities)):
        certificates = _read(file, x509.load_pem_x509_certificates)
        found += [Validity(what=what, file=file, until=one.not_valid_after_utc) for one in certificates]
    if files.revocation_list is not None:
        revoked = _read(files.revocation_list, x509.load_pem_x509_crl)
        if revoked.next_update_utc is not None:
            found.append(Validity(what="revocation list", file=files.revocation_list, until=revoked.next_update_utc))
    return sorted(found, key=lambda one: one.until)


class ReloadedContext:
    """A server context that follows its files: a renewed certificate is used from the next connection on.

    Used by one thread. Files that cannot be used leave the old context in force, and are complained about once.
    """

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._seen = self._marks()
        self._context = server_context(files)
        self._looked_at_s = time.monotonic()

    def __call__(self) -> ssl.SSLContext:
        """The context of the moment."""
        now_s = time.monotonic()
        if now_s - self._looked_at_s >= LOOK_S:
            self._looked_at_s = now_s
            marks = self._marks()
            if marks != self._seen:
                self._seen = marks
                self._reload()
        return self._context

    def _reload(self) -> None:
        try:
            self._context = server_context(self._files)
        except TlsFilesError as fault:
            journal("tls").error("the new TLS files cannot be used; the old ones stay in force", cause=str(fault))
        else:
            journal("tls").info("TLS files were read again")

    def _marks(self) -> list[tuple[int, int, int]]:
        marks = []
        for file in _all_of(self._files):
            try:
                stat = file.stat()
            except OSError:
                marks.append((0, 0, 0))
            else:
                marks.append((stat.st_ino, stat.st_size, stat.st_mtime_ns))
        return marks


def _fill(context: ssl.SSLContext, files: TlsFiles) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(":".join(CIPHERS))
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    pair = f"{files.certificate} with {files.private_key}"
    _load(pair, lambda: context.load_cert_chain(files.certificate, files.private_key))
    _load(str(files.authorities), lambda: context.load_verify_locations(files.authorities))
    if files.revocation_list is not None:
        revocation_list = files.revocation_list
        _load(str(revocation_list), lambda: context.load_verify_locations(revocation_list))
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF


def _load(what: str, load: Callable[[], None]) -> None:
    try:
        load()
    except ssl.SSLError as fault:
        raise TlsFilesError(
            f"{what} cannot be used ({(fault.reason or 'not PEM').lower().replace('_', ' ')})"
        ) from fault
    except OSError as fault:
        raise TlsFilesError(f"{what} cannot be read ({fault.strerror})") from fault


def _read(file: Path, parse: Callable[[bytes], Content]) -> Content:
    try:
        return parse(file.read_bytes())
    except OSError as fault:
        raise TlsFilesError(f"{file} cannot be read ({fault.strerror})") from fault
    except ValueError as fault:
        raise TlsFilesError(f"{file} is not PEM") from fault


def _all_of(files: TlsFiles) -> Sequence[Path]:
    always = [files.certificate, files.private_key, files.authorities]
    return [*always, files.revocation_list] if files.revocation_list is not None else always

"""What each kind of certificate looks like. Pure: keys, names and the time are arguments.

=========  ==============================  ==========  =====================================================================
kind       common name                     life        for
=========  ==============================  ==========  =====================================================================
root       mien root                       20 years    signs issuing authorities (path length 1); its key is kept offline
issuing    mien issuing, mien issuing 2 …  5 years     signs what follows and revocation lists (path length 0)
broker     the broker's host               1 year      ``serverAuth``; host name or address as subject alternative name
service    ``mien-fleet``                  1 year      ``clientAuth``; the manager's own programs
device     the device's fixed id           90 days     ``clientAuth``; ``setting`` and ``jurisdiction``; see ``device.renew``
claim      ``mien-enroll/v1/{batch}``      by batch    ``clientAuth``; boxes that are not enrolled yet
=========  ==============================  ==========  =====================================================================

A claim's common name *is* its topic prefix. It holds slashes, which no device id may: brokers that put the name into a topic
pattern (``%u``) can therefore tell claims from devices by the number of levels alone, with fixed rules for any number of claims.

``setting`` and ``jurisdiction`` are URIs among the subject alternative names (``urn:mien:setting:retail``), not an extension of our
own: every tool prints them (``openssl x509 -ext subjectAltName``), and no object identifier has to be invented or registered.

Everything is valid from some days back, so that a device whose clock is a little slow can use what it was just given. A clock at
1970 is not helped by that (nothing is valid then): such a device first waits for the time from the network.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from device.contract_enroll import BACKDATED, ENROLL_ROOT
from provisioning.errors import AuthorityError

SERVICE: Final = "mien-fleet"
RESERVED: Final = frozenset({SERVICE, "mien-enroll", "mien"})  # these would mean something else in the broker's rules
DAY: Final = dt.timedelta(days=1)
ROOT_DAYS, ISSUING_DAYS, BROKER_DAYS, SERVICE_DAYS, DEVICE_DAYS = 7305, 1826, 365, 365, 90

_DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # device.contract.DeviceName
_BATCH = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_DEVICE_LIKE = re.compile(r"m[0-9a-f]{15}")  # as the registry names devices: both are one level of the enrolment's topics
_TERM = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,31}")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_USAGES: Final = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
CLIENT: Final = (ExtendedKeyUsageOID.CLIENT_AUTH,)
SERVER: Final = (ExtendedKeyUsageOID.SERVER_AUTH,)


@dataclass(frozen=True, slots=True)
class Kind:
    """What a certificate is to say about its holder.

    Attributes:
        name: Common name, 1 to 64 characters.
        days: Life from now on; it also begins ``BACKDATED`` before now.
        usages: Extended key usages.
        names: Subject alternative names.
        path_length: Of an authority; ``None`` for an end.
    """

    name: str
    days: float
    usages: Sequence[ObjectIdentifier] = ()
    names: Sequence[x509.GeneralName] = ()
    path_length: int | None = None


def root() -> Kind:
    return Kind("mien root", ROOT_DAYS, path_length=1)


def issuing(number: int = 1) -> Kind:
    """Each has a name of its own: revocation lists are found by it."""
    return Kind("mien issuing" if number == 1 else f"mien issuing {number}", ISSUING_DAYS, (*CLIENT, *SERVER), path_length=0)


def broker(host: str) -> Kind:
    """Raises ``AuthorityError`` when ``host`` is neither a name nor an address."""
    try:
        return Kind(host, BROKER_DAYS, SERVER, [x509.IPAddress(ipaddress.ip_address(host))])
    except ValueError:
        if not _HOST.fullmatch(host):
            raise AuthorityError(
                "bad-name", f"{host!r} is no host; expected a name or an address, as in mqtts://host:8883"
            ) from None
        return Kind(host[:64], BROKER_DAYS, SERVER, [x509.DNSName(host)])


def service() -> Kind:
    return Kind(SERVICE, SERVICE_DAYS, CLIENT)


def device(name: str, setting: str, jurisdiction: str, days: float) -> Kind:
    """Raises ``AuthorityError`` when a word is not one that a broker's rules and a URI can hold."""
    if not _DEVICE.fullmatch(name) or name in RESERVED:
        raise AuthorityError(
            "bad-name",
            f"{name!r} cannot be a device id; expected up to 64 letters, digits, . _ - and none of {', '.join(sorted(RESERVED))}",
        )
    for what, word in (("setting", setting), ("jurisdiction", jurisdiction)):
        if not _TERM.fullmatch(word):
            raise AuthorityError(
                "bad-name", f"{word!r} cannot be a {what}; expected up to 32 letters, digits and -, as in retail or EU"
            )
    return Kind(name, days, CLIENT, [uri("setting", setting), uri("jurisdiction", jurisdiction)])


def claim(batch: str, days: float) -> Kind:
    """Raises ``AuthorityError`` when ``batch`` cannot be one level of a topic."""
    return Kind(claim_name(batch), days, CLIENT, [uri("batch", batch)])


def claim_name(batch: str) -> str:
    """The common name of a batch's claim, which is the prefix of its topics.

    Raises:
        AuthorityError: ``batch`` cannot be one level of a topic.
    """
    if not _BATCH.fullmatch(batch) or batch in RESERVED:
        reserved = ", ".join(sorted(RESERVED))
        raise AuthorityError(
            "bad-name", f"{batch!r} cannot be a batch; expected up to 40 letters, digits, . _ - and none of {reserved}"
        )
    if _DEVICE_LIKE.fullmatch(batch):
        raise AuthorityError("bad-name", f"{batch!r} looks like a device's id; choose another name for the batch")
    return f"{ENROLL_ROOT}/{batch}"


def ends(chain_pem: bytes) -> dt.datetime:
    """When the first certificate of a chain ends, UTC.

    Raises:
        AuthorityError: It is no certificate.
    """
    try:
        return x509.load_pem_x509_certificate(chain_pem).not_valid_after_utc
    except ValueError:
        raise AuthorityError("files", "not a certificate in PEM; restore it from a backup") from None


def uri(what: str, word: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(f"urn:mien:{what}:{word}")


def terms(certificate: x509.Certificate) -> dict[str, str]:
    """What a certificate's URIs say: ``setting`` and ``jurisdiction`` of a device, ``batch`` of a claim."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return {}
    found = [name.split(":", 3) for name in names.get_values_for_type(x509.UniformResourceIdentifier)]
    return {words[2]: words[3] for words in found if len(words) == 4 and words[:2] == ["urn", "mien"]}


def sign(
    kind: Kind,
    key: ec.EllipticCurvePublicKey,
    issuer: x509.Certificate | None,
    issuer_key: ec.EllipticCurvePrivateKey,
    now: dt.datetime,
) -> x509.Certificate:
    """Make a certificate; ``issuer`` is ``None`` for one that signs itself. It never outlives its issuer.

    Raises:
        AuthorityError: The life asked for is none, or the issuer's own has ended.
    """
    if not 0 < kind.days <= ROOT_DAYS:
        raise AuthorityError(
            "bad-validity", f"a life of {kind.days} days for {kind.name}; expected more than 0 and at most {ROOT_DAYS}"
        )
    ends = now + kind.days * DAY
    if issuer is not None:
        if issuer.not_valid_after_utc <= now:
            raise AuthorityError("expired", f"{_name(issuer)} has ended on {issuer.not_valid_after_utc:%Y-%m-%d}; make a new one")
        ends = min(ends, issuer.not_valid_after_utc)
    authority = kind.path_length is not None
    usage = {"key_cert_sign", "crl_sign"} if authority else {"digital_signature"}
    builder = (
        x509.CertificateBuilder()
        .subject_name(common_name(kind.name))
        .issuer_name(issuer.subject if issuer else common_name(kind.name))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(max(now - BACKDATED, issuer.not_valid_before_utc) if issuer else now - BACKDATED)
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=kind.path_length), critical=True)
        .add_extension(x509.KeyUsage(**{name: name in usage for name in _USAGES}), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if kind.usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(kind.usages), critical=False)
    if kind.names:
        builder = builder.add_extension(x509.SubjectAlternativeName(kind.names), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _name(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string()

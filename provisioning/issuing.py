"""What follows from a decision about certificates, stored: issue one, or change its state. Within somebody else's transaction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from device.contract_enroll import TOKEN_SECONDS, Code, CsrRequest, RenewRequest
from provisioning.decisions import Authority, CheckedKey, Issue, Mark
from provisioning.errors import AuthorityError
from provisioning.keys import number_and_end
from provisioning.tables import Batch, CertificateRow, DeviceRow, RequestRow, SerialRow

CSR_FLAWS: Final[dict[str, Code]] = {
    "bad-csr": "malformed",
    "bad-signature": "wrong_key",
    "weak-key": "weak_key",
    "wrong-key": "weak_key",
}


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who issues, and how.

    Attributes:
        authority: Who signs.
        days: How long a device's certificate is good for.
        token: Makes a token, 64 hexadecimal digits.
    """

    authority: Authority
    days: float
    token: Callable[[], str]

    def check(self, csr: str) -> CheckedKey | Code:
        """What a CSR says, or what is wrong with it."""
        try:
            return self.authority.check_csr(csr.encode())
        except AuthorityError as error:
            if error.code not in CSR_FLAWS:
                raise
            return CSR_FLAWS[error.code]

    def issue(
        self, session: Session, what: Issue, request: CsrRequest | RenewRequest, *, key: str, claim: str, now: int
    ) -> CertificateRow:
        """Sign a CSR that has passed, and store the certificate as pending."""
        serial, device = what.listed.serial, what.listed.device
        batch = session.get_one(Batch, session.get_one(SerialRow, serial).batch)
        chain = self.authority.issue_device(
            request.csr.encode(), device=device, setting=batch.setting, jurisdiction=batch.jurisdiction, days=self.days
        )
        number, expires_at = number_and_end(chain)
        if session.get(DeviceRow, device) is None:
            session.add(DeviceRow(name=device, serial=serial, created_at=now))
            session.flush()
        row = CertificateRow(number=number, device=device, key=key, state="pending", claim=claim, pem=chain.decode())
        row.serial, row.nonce, row.box, row.renews = serial, request.nonce, request.box, what.renews
        row.token, row.token_expires_at = self.token(), now + TOKEN_SECONDS
        row.issued_at, row.expires_at = now, expires_at
        session.add(row)
        session.flush()
        return row


def change(session: Session, mark: Mark) -> None:
    """Give a certificate another state, and what a person has said about its key another meaning."""
    row = find(session, mark.number)
    row.state = mark.state
    session.flush()  # in this order: one live certificate at a time
    asked = session.get(RequestRow, (row.serial, row.key))
    if asked is not None and mark.state == "live":
        asked.verdict = "approved"  # a replacement is permitted once
    if asked is not None and mark.state == "superseded":
        session.delete(asked)


def find(session: Session, number: str) -> CertificateRow:
    """The certificate of this serial number."""
    return session.scalars(select(CertificateRow).where(CertificateRow.number == number)).one()

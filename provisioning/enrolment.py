"""Who gets an identity: one request and what the registry knows about it in, a decision out. Pure.

=============  ==========================  ===========================================================
certificate    by                          and then
=============  ==========================  ===========================================================
``pending``    ``csr`` or ``renew``        its token is good for an hour; then it is ``dropped``
``registered`` ``register`` was accepted   the device connects with it
``live``       ``confirm`` was accepted    one per serial; the claim is given up; one before is ``superseded``.
               A renewed one needs no ``register``: who asked for it had a certificate already
``dropped``, ``superseded``, ``revoked``   on the revocation list
=============  ==========================  ===========================================================

Every request may come twice, late, or from somebody else who holds the same claim. So each decision depends on what is stored
alone; a repeated request gets the same answer and has no second effect; and nothing changes without a proof that the sender
owns the key.
"""

from __future__ import annotations

from typing import Final

from device.contract_enroll import Code, CsrRequest, Proof, RenewRequest, Step
from provisioning.decisions import (
    OPEN,
    Certificate,
    CheckedKey,
    Claim,
    Decision,
    Facts,
    Issue,
    Listed,
    Mark,
    Queue,
    Repeat,
    refuse,
    short,
)

RENEWALS: Final = 6  # certificates that a device is given in a day: a broken one must not fill the revocation list


def on_csr(request: CsrRequest, key: str, checked: CheckedKey | Code, facts: Facts, now: int) -> Decision:
    """Decide about a CSR.

    Args:
        request: What was sent.
        key: The key that the topic names.
        checked: What the CSR says, or what is wrong with it.
        facts: What is known.
        now: Seconds since 1970.
    """
    if code := _claim_flaw(facts.claim, key, now):
        return refuse(code)
    if isinstance(checked, str):
        return refuse(checked)
    if checked.sha256 != key:
        return refuse("wrong_key", about=f"the CSR's key is {short(checked.sha256)}, the topic's {short(key)}")
    if checked.common_name != request.serial:
        return refuse("csr_serial", about=f"{checked.common_name!r:.70} instead of {request.serial!r}")
    if facts.claim is not None and facts.claim.serial not in (None, request.serial):
        return refuse("claim_serial", about=f"serial {request.serial}")
    listed = facts.listed
    if listed is None:
        return refuse("unknown_serial", about=f"serial {request.serial}")
    if facts.claim is None or listed.batch != facts.claim.batch:
        return refuse("wrong_batch", about=f"serial {request.serial}")
    certified = facts.own is not None and facts.own.serial == listed.serial  # by us: when it was renewed, with another key
    if listed.key not in (None, key) and not certified:
        return refuse("key_not_registered", about=f"serial {request.serial} with key {short(key)}, not {short(listed.key or '')}")
    if facts.verdict == "refused":
        return refuse("refused", about=f"serial {request.serial} with key {short(key)}")
    return _issue_or_repeat(request, key, listed, facts, now)


def _issue_or_repeat(request: CsrRequest, key: str, listed: Listed, facts: Facts, now: int) -> Decision:
    own, ended = facts.own, tuple(Mark(one.number, "dropped") for one in facts.rivals if _ended(one, now))
    if own is not None and own.state in OPEN:
        if own.box and request.box and own.box != request.box:
            about = f"serial {listed.serial}, key {short(key)}: hardware {own.box} has it, and {request.box} asks for it"
            return refuse("two_boxes", about=about)
        if not _ended(own, now):
            return Decision((Repeat(own),), listed.device)
        ended = (*ended, Mark(own.number, "dropped"))
    if facts.nonce_of is not None:
        return refuse("replayed")
    if own is not None and own.state == "revoked" and facts.verdict is None:
        return refuse("revoked", Queue(listed.serial), about=f"key {short(key)}")
    rivals = [one for one in facts.rivals if not _ended(one, now)]
    if rivals and facts.verdict != "replace":
        about = f"serial {listed.serial}: key {short(rivals[0].key)} has it, and {short(key)} asks for it"
        return refuse("serial_in_use", *ended, Queue(listed.serial), about=about)
    if listed.key == key or facts.verdict is not None:
        return Decision((*ended, Issue(listed)), listed.device)
    if facts.claim is not None and facts.claim.single and facts.claim.serial == listed.serial:
        return Decision((*ended, Issue(listed)), listed.device, message="approved with its claim, which is for this serial alone")
    others = ", ".join(map(short, facts.waiting))
    about = f"serial {listed.serial} with key {short(key)}" + (f"; also asked for by {others}" if others else "")
    return refuse("waiting", *ended, Queue(listed.serial), about=about)


def on_register(request: Proof, key: str, facts: Facts, now: int) -> Decision:
    """Decide about a registration: the token, signed with the key it was given to."""
    if code := _claim_flaw(facts.claim, key, now):
        return refuse(code)
    if (flaw := _proof_flaw(request, key, facts)) is not None:
        return flaw
    own = facts.own
    if own is None or facts.claim is None or facts.listed is None or facts.listed.batch != facts.claim.batch:
        return refuse("wrong_batch")
    if own.state == "pending":
        if _ended(own, now):
            return refuse("token_expired", Mark(own.number, "dropped"))
        return Decision((Mark(own.number, "registered"),), own.device)
    return Decision((), own.device)


def on_renew(request: RenewRequest, name: str, checked: CheckedKey | Code, facts: Facts, now: int) -> Decision:
    """Decide about the next certificate; ``name`` is the device, whose certificate the broker has checked."""
    if isinstance(checked, str):
        return refuse(checked)
    key, live = checked.sha256, next((one for one in (*facts.rivals, facts.own) if one and one.state == "live"), None)
    if checked.common_name != name:
        return refuse("csr_serial", about=f"{checked.common_name!r:.70} instead of {name!r}")
    if live is None or facts.listed is None or live.device != name:
        return refuse("not_issued", about=name)
    if live.box and request.box and live.box != request.box:
        return refuse("two_boxes", about=f"{name}, key {short(live.key)}: hardware {live.box} has it, and {request.box} renews it")
    own = facts.own
    if own is not None and (own.device != name or (own.state == "live" and own.renews is None)):
        return refuse("same_key", about=f"key {short(key)}")
    before = [one for one in facts.rivals if one.renews == live.number]  # its device has lost the key
    if own is not None and own.state in OPEN:
        if own is live or (own.renews == live.number and not _ended(own, now)):  # it has not heard the answer
            return Decision((Repeat(own),), name)
        before.append(own)
    if facts.nonce_of is not None:
        return refuse("replayed")
    if facts.recent >= RENEWALS:
        return refuse("too_often", about=name)
    return Decision((*(Mark(one.number, "dropped") for one in before), Issue(facts.listed, live.number)), name)


def on_confirm(request: Proof, name: str, key: str, facts: Facts, now: int) -> Decision:
    """Decide about a confirmation; ``name`` is the certificate's common name that the broker has checked."""
    if (flaw := _proof_flaw(request, key, facts)) is not None:
        return flaw
    own = facts.own
    if own is None or own.device != name:
        return refuse("not_issued", about=name)
    if own.state == "live":
        return Decision((), own.device)
    if own.renews is not None:
        return _renewed(own, facts, now)
    if own.state == "pending":
        return refuse("not_registered")
    before = tuple(Mark(one.number, "superseded") for one in facts.rivals)
    return Decision((*before, Mark(own.number, "live")), own.device)


def _renewed(own: Certificate, facts: Facts, now: int) -> Decision:
    """The next certificate works. It follows the one that it was asked for with, or none: that one may have been replaced."""
    if _ended(own, now):
        return refuse("token_expired", Mark(own.number, "dropped"))
    old = next((one for one in facts.rivals if one.number == own.renews and one.state == "live"), None)
    if old is None:
        return refuse("revoked", Mark(own.number, "dropped"), about=f"key {short(own.key)}")
    return Decision((Mark(old.number, "superseded"), Mark(own.number, "live")), own.device)


def _claim_flaw(claim: Claim | None, key: str, now: int) -> Code | None:
    if claim is None:
        return "unknown_claim"
    if claim.revoked:
        return "claim_revoked"
    if now >= claim.expires_at:
        return "claim_expired"
    return "claim_used" if claim.single and claim.used_by not in (None, key) else None


def _proof_flaw(request: Proof, key: str, facts: Facts) -> Decision | None:
    """Why this is no proof that the sender owns a certificate that is open."""
    if facts.token_of not in (None, key):
        return refuse("token_foreign", about=f"key {short(key)} with the token of {short(facts.token_of or '')}")
    own = facts.own
    if own is None:
        return refuse("not_issued")
    if not facts.proven:
        return refuse("bad_signature")
    if own.token != request.token:
        return refuse("token_expired" if facts.token_of else "token_unknown")
    if own.state == "dropped":
        return refuse("token_expired")
    return None if own.state in OPEN else refuse("revoked", about=f"key {short(key)}")


def _ended(certificate: Certificate, now: int) -> bool:
    """Whether its time is over: that of its token before it is registered, its own afterwards."""
    return now >= (certificate.token_expires_at if certificate.state == "pending" else certificate.expires_at)


def read_step(topic: str, root: str) -> tuple[str, str, Step] | None:
    """Name, key and step of a request's topic; None for any other."""
    parts = topic.removeprefix(f"{root}/").split("/")
    if not topic.startswith(f"{root}/") or len(parts) != 3:
        return None
    name, key, last = parts
    steps: dict[str, Step] = {"csr": "csr", "register": "register", "confirm": "confirm"}
    return (name, key, steps[last]) if last in steps else None

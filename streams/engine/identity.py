"""Who a customer is when only an address or a handle is known (C19): normalised identities.

Which customer an identity belongs to is looked up in a directory built from customer records; a
`domain:` of a free-mail provider belongs to nobody and is refused there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from email.utils import parseaddr
from functools import lru_cache

from schemas.customers import Customer
from schemas.refusals import Reason, Refusal
from streams.engine.free_mail import FREE_MAIL


@lru_cache(maxsize=65_536)
def normalised(identity: str) -> str:
    """`Ops@Example.com`, `mailto:ops@example.com`, `<ops@example.com>` -> `mailto:ops@example.com`;
    `handle:LinkedIn/Example` -> `handle:linkedin/example`; anything without a scheme or an `@` is a handle."""
    text = identity.strip()
    scheme, colon, rest = text.partition(":")
    if colon and scheme.lower() in ("mailto", "domain", "handle", "tel"):
        scheme, text = scheme.lower(), rest.strip()
    else:
        scheme = "mailto" if "@" in text else "handle"
    if scheme == "mailto":
        text = parseaddr(text)[1] or text
    return f"{scheme}:{text.lower().lstrip('@') if scheme == 'domain' else text.lower()}"


def domain_of(identity: str) -> str | None:
    """The mail domain of a normalised identity, or None."""
    scheme, _, text = identity.partition(":")
    return text.rpartition("@")[2] if scheme == "mailto" and "@" in text else None


@dataclass(slots=True)
class Directory:
    """Customers by identity. An exact identity beats a domain; of several customers that claim one, the
    smallest id holds it, so that records in any order give the same directory."""

    customers: dict[str, Customer] = field(default_factory=dict)
    _claims: dict[str, set[str]] = field(default_factory=dict)

    def put(self, customer: Customer) -> list[Refusal]:
        """Add or replace a customer; claims that cannot hold come back as refusals, the rest holds."""
        self.remove(customer.customer_id)
        self.customers[customer.customer_id] = customer
        return [refusal for identity in customer.identities if (refusal := self._claim(customer, identity))]

    def remove(self, customer_id: str) -> None:
        """Forget a customer and what it claimed; unknown ones are ignored."""
        gone = self.customers.pop(customer_id, None)
        for identity in map(normalised, gone.identities if gone else ()):
            claimants = self._claims.get(identity, set())
            claimants.discard(customer_id)
            if not claimants:
                self._claims.pop(identity, None)

    def owner_of(self, identity: str) -> str:
        """The customer of an identity: who claims it, who claims its domain, or the identity itself (C19)."""
        known = normalised(identity)
        claimants = self._claims.get(known)
        if claimants is None and (domain := domain_of(known)):
            claimants = self._claims.get(f"domain:{domain}")
        return min(claimants) if claimants else known

    def _claim(self, customer: Customer, identity: str) -> Refusal | None:
        known = normalised(identity)
        scheme, _, text = known.partition(":")
        if scheme == "domain" and text in FREE_MAIL:
            detail = f"customer {customer.customer_id} claims {known}, which gives addresses to anybody"
            return Refusal(reason=Reason.FREE_MAIL_DOMAIN, detail=detail, field="identities")
        claimants = self._claims.setdefault(known, set())
        claimants.add(customer.customer_id)
        if len(claimants) > 1:
            detail = f"customers {', '.join(sorted(claimants))} claim one identity; {min(claimants)} holds it"
            return Refusal(reason=Reason.IDENTITY_TAKEN, detail=detail, field="identities")
        return None


def directory(customers: Iterable[Customer]) -> tuple[Directory, list[Refusal]]:
    """A directory of `customers`, in the order of their ids so that any order gives the same, and what
    was refused."""
    built, refusals = Directory(), []
    for customer in sorted(customers, key=lambda customer: customer.customer_id):
        refusals += built.put(customer)
    return built, refusals

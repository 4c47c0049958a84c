"""Who a customer is when only an address or a handle is known: C19."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from schemas.customers import Customer
from schemas.refusals import Reason
from streams.engine.identity import directory, domain_of, normalised
from streams.engine.timeline import customers_of, in_order
from tests.streams.engine.told import facts_by_contact


def customer(customer_id: str, *identities: str, **other: Any) -> Customer:
    return Customer.model_validate({"customer_id": customer_id, "identities": list(identities), **other})


@pytest.mark.parametrize(
    ("written", "identity"),
    [
        ("Ops@Example.com", "mailto:ops@example.com"),
        ("mailto:ops@example.com", "mailto:ops@example.com"),
        ("MAILTO: Ops@Example.com", "mailto:ops@example.com"),
        ('"Ops, night" <Ops@Example.com>', "mailto:ops@example.com"),
        ("domain:@Example.COM", "domain:example.com"),
        ("handle:LinkedIn/Example", "handle:linkedin/example"),
        ("LinkedIn/Example", "handle:linkedin/example"),
        ("  ops@example.com ", "mailto:ops@example.com"),
    ],
)
def test_c19_an_identity_is_one_however_it_is_written(written: str, identity: str) -> None:
    assert normalised(written) == identity
    assert normalised(identity) == identity


def test_c19_only_mail_has_a_domain() -> None:
    assert domain_of("mailto:ops@example.com") == "example.com"
    assert domain_of("handle:linkedin/example") is None


def test_c19_an_address_belongs_to_who_claims_it_else_to_who_claims_its_domain() -> None:
    found, refused = directory([customer("c-1", "domain:example.com"), customer("c-2", "Ops@Example.com")])
    assert refused == []
    assert found.owner_of("ops@example.com") == "c-2"
    assert found.owner_of("boss@example.com") == "c-1"
    assert found.owner_of("boss@mail.example.com") == "mailto:boss@mail.example.com"


def test_c19_nobody_is_dropped_for_being_unknown() -> None:
    found, _ = directory([])
    assert found.owner_of("Who@Example.com") == "mailto:who@example.com"


def test_c19_a_domain_of_a_free_mail_provider_is_refused_and_the_rest_of_the_record_holds() -> None:
    found, refused = directory([customer("c-1", "domain:GMail.com", "a@gmail.com")])
    assert [refusal.reason for refusal in refused] == [Reason.FREE_MAIL_DOMAIN]
    assert found.owner_of("a@gmail.com") == "c-1"
    assert found.owner_of("b@gmail.com") == "mailto:b@gmail.com"


def test_c19_an_identity_that_two_customers_claim_is_the_firsts_in_any_order() -> None:
    records = [customer("c-2", "ops@example.com"), customer("c-1", "OPS@example.com"), customer("c-3", "x@example.com")]
    for order in itertools.permutations(records):
        found, refused = directory(order)
        assert found.owner_of("ops@example.com") == "c-1"
        assert [refusal.reason for refusal in refused] == [Reason.IDENTITY_TAKEN]


def test_c19_a_replaced_record_gives_up_what_it_no_longer_claims() -> None:
    found, _ = directory([customer("c-1", "ops@example.com", "boss@example.com")])
    assert found.put(customer("c-1", "boss@example.com")) == []
    assert found.owner_of("ops@example.com") == "mailto:ops@example.com"
    assert found.owner_of("boss@example.com") == "c-1"


def test_c19_a_removed_customer_claims_nothing() -> None:
    found, _ = directory([customer("c-1", "ops@example.com")])
    found.remove("c-1")
    found.remove("never-known")
    assert found.owner_of("ops@example.com") == "mailto:ops@example.com"


def test_c19_who_holds_an_identity_does_not_depend_on_the_order_in_which_records_arrive() -> None:
    for order in (["c-1", "c-2"], ["c-2", "c-1"]):
        found, _ = directory([])
        for customer_id in order:
            found.put(customer(customer_id, "ops@example.com"))
        assert found.owner_of("ops@example.com") == "c-1"


def test_c19_a_claim_that_becomes_free_goes_to_the_other_who_made_it() -> None:
    found, _ = directory([customer("c-1", "ops@example.com"), customer("c-2", "ops@example.com")])
    found.remove("c-1")
    assert found.owner_of("ops@example.com") == "c-2"


def of(story: str, *records: Customer, contact: str = "A") -> str:
    told = {name: in_order(items) for name, items in facts_by_contact(story).items()}
    return customers_of(told, directory(records)[0])[contact]


def test_c19_a_contacts_customer_is_its_earliest_explicit_one() -> None:
    story = """
        Mon 11:00 A wrote customer_id=c-2
        Mon 10:00 A wrote customer_id=c-1
        Mon 09:00 A wrote sender=ops@example.com"""
    assert of(story, customer("c-3", "ops@example.com")) == "c-1"


def test_c19_else_its_earliest_identity() -> None:
    story = "Mon 09:00 A answered to=ops@example.com\nMon 10:00 A wrote sender=boss@example.com"
    assert of(story) == "mailto:ops@example.com"
    assert of(story, customer("c-1", "ops@example.com")) == "c-1"


def test_c19_an_internal_notes_recipient_is_no_customer() -> None:
    assert of("Mon 09:00 A noted to=anna@ours.example\nMon 10:00 A wrote sender=boss@example.com") == (
        "mailto:boss@example.com"
    )


def test_c19_the_sender_of_an_outbound_bounce_is_no_customer() -> None:
    story = "Mon 09:00 A bounced sender=daemon@example.com to=ops@example.com"
    assert of(story) == "mailto:ops@example.com"


def test_c19_the_sender_of_an_automatic_reply_is_the_customer_who_is_away() -> None:
    assert of("Mon 09:00 A auto-replied sender=ops@example.com") == "mailto:ops@example.com"


def test_c19_a_contact_that_names_nobody_is_its_own_customer() -> None:
    assert of("Mon 09:00 A wrote") == "contact:A"


def test_c19_a_contact_that_names_nobody_has_the_customer_of_what_was_merged_into_it_by_chains_too() -> None:
    story = """
        Mon 09:00 A wrote
        Mon 09:00 B wrote
        Mon 09:00 C wrote customer_id=c-1
        Mon 10:00 B merged into=A
        Mon 10:00 C merged into=B"""
    for names in itertools.permutations("ABC"):
        renamed = story.translate({ord(old): new for old, new in zip("ABC", names, strict=True)})
        assert of(renamed, contact=names[0]) == "c-1"


def test_c19_of_several_merged_into_it_the_earliest_merge_names_the_customer() -> None:
    story = """
        Mon 09:00 A wrote
        Mon 09:00 B wrote customer_id=c-2
        Mon 09:00 C wrote customer_id=c-1
        Mon 10:30 B merged into=A
        Mon 10:00 C merged into=A"""
    assert of(story) == "c-1"

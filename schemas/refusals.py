"""Why a record was refused: one closed list of words.

The same word is the dead-letter header, the `reason` label of `responsiveness_refused_total` and the
heading in the documentation. What happens to a refused record is not decided here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Every reason for which heardback refuses a record. Add here, document in README.md."""

    BROKEN_ENCODING = "broken_encoding"
    BROKEN_JSON = "broken_json"
    BROKEN_GZIP = "broken_gzip"
    BROKEN_MAIL = "broken_mail"
    BROKEN_ROW = "broken_row"
    RECORD_TOO_LARGE = "record_too_large"
    CONTACT_TOO_LARGE = "contact_too_large"
    NOT_AN_OBJECT = "not_an_object"
    NOT_CLOUDEVENTS = "not_cloudevents"
    UNKNOWN_TYPE = "unknown_type"
    RESERVED_TYPE = "reserved_type"
    MISSING_FIELD = "missing_field"
    INVALID_FIELD = "invalid_field"
    UNKNOWN_VALUE = "unknown_value"
    NAIVE_INSTANT = "naive_instant"
    ABSURD_INSTANT = "absurd_instant"
    FROM_THE_FUTURE = "from_the_future"
    TOO_LATE = "too_late"
    CONTACT_FORGOTTEN = "contact_forgotten"
    ID_REUSED = "id_reused"
    CONTACT_ID_REUSED = "contact_id_reused"
    NO_CUSTOMER = "no_customer"
    FREE_MAIL_DOMAIN = "free_mail_domain"
    IDENTITY_TAKEN = "identity_taken"
    CALENDAR_NEVER_OPENS = "calendar_never_opens"
    NOT_A_BOUNCE = "not_a_bounce"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A refused record as a value. `detail` says what was found and what was wanted, in one line;
    `field` is the dotted path of the first fault, where there is one."""

    reason: Reason
    detail: str
    field: str | None = None

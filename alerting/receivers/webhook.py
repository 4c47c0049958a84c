"""Alerts to a webhook, signed as Standard Webhooks say (https://www.standardwebhooks.com).

Body: the record of topic `alerts`. `webhook-id` is the same at every try of one change, so that a receiver
can remove repeats; `alert_id` names the whole episode. While a secret is replaced there are two, and a signature by
each: the receiver goes over when it likes, and refuses nothing meanwhile.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Sequence
from typing import Final

import orjson
from standardwebhooks.webhooks import Webhook as Signer

from alerting import outbound, secret
from alerting.notify import Notice
from alerting.posting import Answer, Rim, post
from schemas.configuration import ReceiverSpec

TAKES: Final = frozenset({"urls", "secret", "secret_file", "allow_private"})
AT_ONCE: Final = 16
_PREFIX: Final = "whsec_"


class Webhook:
    """Posts each notice by itself, a few at once."""

    batch = 64
    resends = False
    by_labels = False
    by_customer = False

    def __init__(self, spec: ReceiverSpec, rim: Rim) -> None:
        self._spec = spec
        self._rim = rim
        self._signers = [Signer(key) for key in _keys(secret.needed(spec))]
        self._gate = asyncio.Semaphore(AT_ONCE)

    async def deliver(self, notices: Sequence[Notice]) -> Sequence[Answer]:
        """One signed POST each."""
        return await asyncio.gather(*(self._post(notice) for notice in notices))

    async def _post(self, notice: Notice) -> Answer:
        body = orjson.dumps(notice.record)
        async with self._gate:
            sent_at, text = self._rim.wall(), body.decode()
            headers = {
                "Content-Type": "application/json",
                "webhook-id": notice.key,
                "webhook-timestamp": str(int(sent_at.timestamp())),
                "webhook-signature": " ".join(signer.sign(notice.key, sent_at, text) for signer in self._signers),
            }
            session = self._rim.session(self._spec.allow_private)
            return await post(session, self._spec.urls[0], body, headers, self._spec.timeout_seconds)


def faults(spec: ReceiverSpec, hosts: Sequence[str] | None) -> list[str]:
    """One address, and a secret in base64 with or without `whsec_`, here or in a file; several with it, each on a line
    of its own."""
    found = []
    if len(spec.urls) != 1:
        found.append(f"found {len(spec.urls)} urls, wanted one")
    found += outbound.faults(spec.urls, hosts, allow_private=spec.allow_private)
    try:
        _keys(secret.needed(spec))
    except ValueError as fault:
        found.append(str(fault))
    return found


def make(spec: ReceiverSpec, rim: Rim) -> Webhook:
    """The webhook of a configuration without `faults`."""
    return Webhook(spec, rim)


def _keys(text: str) -> list[bytes]:
    secrets = text.split("\n")
    if len(secrets) > 1 and not all(one.startswith(_PREFIX) for one in secrets):  # one that is broken over lines
        raise ValueError(f"found a secret of several lines, wanted one, or several secrets that begin with {_PREFIX}")
    return [_key(one.strip()) for one in secrets]


def _key(text: str) -> bytes:
    try:
        key = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not key:
        raise ValueError(f"found a secret that is not base64, wanted {_PREFIX} and base64 of random bytes")
    return key

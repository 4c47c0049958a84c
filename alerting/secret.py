"""The secret of a receiver: in the configuration, or in a file beside it. What it is for does not belong here."""

from __future__ import annotations

from pathlib import Path

from schemas.configuration import ReceiverSpec


def of(spec: ReceiverSpec) -> str | None:
    """The secret, None where there is none. Raises ValueError, which does not say it."""
    return None if spec.secret is None and spec.secret_file is None else given(spec.secret, spec.secret_file)


def needed(spec: ReceiverSpec) -> str:
    """The secret. Raises ValueError where there is none."""
    return given(spec.secret, spec.secret_file)


def given(secret: str | None, secret_file: str | None) -> str:
    """The secret that is written here, or in that file. Raises ValueError where there is none, or both."""
    if secret_file is None:
        if secret is None:
            raise ValueError("found no secret, wanted secret or secret_file")
        return secret
    if secret is not None:
        raise ValueError("found secret and secret_file, wanted one of them")
    try:
        found = Path(secret_file).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ValueError(f"secret_file {secret_file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"secret_file {secret_file}: is not UTF-8") from None
    if not found:
        raise ValueError(f"secret_file {secret_file}: is empty")
    return found

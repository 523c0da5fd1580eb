"""Keys as clients and models hold them: `rv_<id>_<secret>`. No I/O.

Source: docs/protocol.md, section "Keys".
"""

import re
from dataclasses import dataclass, field

from rendezvous_proto.errors import InvalidRequestError

__all__ = ["ID_CHARACTERS", "SECRET_CHARACTERS", "Key", "inbox_prefix", "is_key_id", "parse_bearer", "parse_key"]

ID_CHARACTERS = 12
"""Characters of a key's id."""
SECRET_CHARACTERS = 52
"""Characters of its secret: five random bits each."""

_KEY = re.compile(f"rv_([a-z2-7]{{{ID_CHARACTERS}}})_([a-z2-7]{{{SECRET_CHARACTERS}}})")
_ID = re.compile(f"[a-z2-7]{{{ID_CHARACTERS}}}")
_BEARER = "bearer "


@dataclass(frozen=True, slots=True)
class Key:
    """A key in its two parts. Prints as its id only."""

    id: str
    """The public part; the user's name in NATS."""
    secret: str = field(repr=False)
    """The rest; the password in NATS."""

    @property
    def text(self) -> str:
        """The whole key, as it is handed out."""
        return f"rv_{self.id}_{self.secret}"


def parse_key(text: str) -> Key:
    """Returns a key's parts.

    Raises:
        InvalidRequestError: it is no key; the message does not repeat it.
    """
    found = _KEY.fullmatch(text.strip())
    if found is None:
        raise InvalidRequestError(
            f"the key given ({len(text)} characters) is none: keys read rv_<{ID_CHARACTERS} characters>_"
            f"<{SECRET_CHARACTERS} characters>, of a-z and 2-7, as `rendezvous key add` prints them"
        )
    return Key(found[1], found[2])


def is_key_id(text: str) -> bool:
    """Tells whether *text* may be the id of a key, and so may be shown."""
    return _ID.fullmatch(text) is not None


def parse_bearer(authorization: str | None) -> Key | None:
    """Returns the key of an `authorization` header or metadata value; None: it carries none that could be one."""
    if authorization is None or authorization[: len(_BEARER)].lower() != _BEARER:
        return None
    found = _KEY.fullmatch(authorization[len(_BEARER) :].strip())
    return None if found is None else Key(found[1], found[2])


def inbox_prefix(key: Key) -> str:
    """Returns the only prefix under which the owner of a key may subscribe to replies."""
    return f"_INBOX_{key.id}"

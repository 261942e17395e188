"""Who calls, once that is proven: the word that limits, flags and threats share."""

import msgspec

__all__ = ["ANONYMOUS", "Identity"]


class Identity(msgspec.Struct, frozen=True):
    """An authenticated caller; every field is empty where nothing is known.

    Attributes:
        user: name of the user, such as the `sub` of a token.
        tenant: name of the tenant.
        role: one role.
        api_key: id of the API key, never the key.
        source: what proved it: `api-key`, `jwt` or `headers`.
    """

    user: str = ""
    tenant: str = ""
    role: str = ""
    api_key: str = ""
    source: str = ""


ANONYMOUS = Identity()
"""A caller who proved nothing."""

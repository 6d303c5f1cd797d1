"""What the shards call a user's mistake."""


class ShardsError(ValueError):
    """A mistake of the caller's: one line that names the value and the remedy."""


class ClipError(ShardsError):
    """A clip that cannot be used; the message is the reason it is rejected with."""

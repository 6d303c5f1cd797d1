"""What the commands call a user's mistake."""


class JobError(ValueError):
    """A mistake of the caller's: one line that names the value and the remedy."""

"""What the engine calls a user's mistake."""


class EngineError(ValueError):
    """A mistake of the caller's: one line that names the value and the remedy."""


class AudioError(EngineError):
    """A clip that cannot become mel; the message is the reason it is rejected with."""

"""How long one clip may be; light, since `--help` reads it."""

from typing import Annotated

from audio_tokens.engine.ranges import Range

# The mel of a clip is held whole: 40 MB an hour for mel22k and 185 MB for ast16k.
LONGEST_S = 6 * 3600.0
LongestSeconds = Annotated[float, Range(1, 7 * 86_400)]

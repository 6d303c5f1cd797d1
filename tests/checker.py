"""The checker of annotations while tests run: beartype, with int taken where float is asked, as Python does."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))

"""Names of segments that tell left from right: a mirrored image would teach that the two are the same."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Whatever is no letter or digit, borders of camelCase, and before the number in "left2" (but not in "L5", a vertebra).
_BETWEEN_WORDS = re.compile(r"[\W_]+|(?<=[a-z\d])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[a-z]{2}|[A-Z]{2})(?=\d)")
# English and its abbreviations; German, French, Spanish, Italian and Portuguese.
_SIDE = re.compile(
    r"left|right|l|r|lt|rt|link(s|e[rsn]?)|recht(s|e[rsn]?)|gauche|droite?|"
    r"izquierd[ao]|derech[ao]|sinistr[ao]|destr[ao]|esquerd[ao]|direit[ao]"
)


def are_sided(names: Iterable[str]) -> bool:
    """Whether one of these names has a word for left or right in it."""
    return any(_SIDE.fullmatch(word.casefold()) for name in names for word in _BETWEEN_WORDS.split(name))

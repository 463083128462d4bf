"""Replacing by a person's regular expression, in bounded time: a pattern that never ends ends with a word."""

from __future__ import annotations

import time
from collections.abc import Callable

from loratui.engine.errors import UsageError

LONGEST = 1000
"""Letters of a pattern or of what it is replaced by."""
SECONDS = 2.0
"""For all captions of a set together."""


def pattern_edit(pattern: str, new: str, seconds: float = SECONDS) -> Callable[[str], str]:
    r"""The change that replaces what matches, in any case; `\1` in `new` is the first group.

    Raises `UsageError`, here or from the change, for a pattern that is none and for one that takes longer than `seconds` in all.
    """
    import regex

    if max(len(pattern), len(new)) > LONGEST:
        raise UsageError(f"This pattern has more than {LONGEST} letters.", "Shorten it.")
    try:
        wanted = regex.compile(pattern, regex.IGNORECASE)
    except (regex.error, OverflowError, RecursionError) as error:
        raise UsageError(f"This is no regular expression: {error}.", "Correct it.") from None
    left = seconds

    def change(caption: str) -> str:
        nonlocal left
        began = time.monotonic()
        try:
            # Other threads, such as the app's, run on while it searches.
            return str(wanted.sub(new, caption, timeout=max(left, 0.001), concurrent=True))
        except TimeoutError:
            raise UsageError(
                f"This pattern takes longer than {seconds:g} s.", "Write it without a repeat within a repeat, such as (a+)+."
            ) from None
        except (regex.error, IndexError) as error:
            raise UsageError(f"This replacement cannot be made: {error}.", r"Use \1 to \9 for groups of the pattern.") from None
        finally:
            left -= time.monotonic() - began

    return change

"""The one list of what is a secret: blotted out wherever text is kept, shown or handed to others (logs, events, crash reports, errors)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping

from loratui.engine.cleaning import without_escapes

HIDDEN = "[hidden]"

_LEAST = 8
"""Characters of a value of the environment: a shorter one is a word that stands in any text."""
_LEAST_LINE = 16
"""The same for one line of a value with several, such as a key."""

_NAMES = re.compile(
    r"(?i)(token|secret|passw|passphrase|credential|auth(?!or)|cookie|private|(^|_)pat$|(^|_)(api|access|account|storage|ssh|deploy|signing"
    r"|encryption|license|wandb|civitai|runpod|vast|aws|hf)?_?key(s|_id|_b64|_base64|_pem|_data)?$)"
)
"""Variables that hold a secret, by their name."""
_PRIVATE_ADDRESSES = ("LORATUI_WEBHOOK_URL", "LORATUI_NTFY_URL")
"""Whoever knows these addresses can write to them."""
_NO_NAMES = re.compile(r"(?i)(^tokenizers_|_(path|file|dir|folder|sock|url|endpoint|host|parallelism)$|^xauthority$)")
"""Variables of such a name that say where something lies."""

_NAMED = r"(?:token|api[_-]?key|access[_-]?key(?:[_-]?id)?|secret(?:[_-]?access)?(?:[_-]?key)?|password|passwd|passphrase|credential|private[_-]?key"
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), HIDDEN),
    # Names and passwords in addresses, also those with an @ in them.
    (re.compile(r"(://)[^\s/?#'\"<>]{1,500}@"), rf"\1{HIDDEN}@"),
    (re.compile(r"(://)[^\s/?#:@]{1,200}:[^\s@'\"<>]{0,500}@"), rf"\1{HIDDEN}@"),
    # What an address is signed with.
    (
        re.compile(
            r"(?i)([?&](?:[\w-]{0,40}(?:token|key|signature|credential|secret|password)|sig|policy|auth)(?:-pair)?(?:-id)?=)[^&\s'\"#<>]+"
        ),
        rf"\1{HIDDEN}",
    ),
    (
        re.compile(r"(?i)\b(authorization['\"]?\s*[=:]\s*['\"]?(?:(?:basic|bearer|token|digest)\s+)?)[^\s'\",;]+"),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"(?i)\b(bearer\s+)[^\s'\",;]{4,}"), rf"\1{HIDDEN}"),
    (re.compile(r"(?i)\b((?:set-)?cookie['\"]?:\s*)[^\r\n]+"), rf"\1{HIDDEN}"),
    # Tokens that begin as only tokens do: hub, model services, code hosts, chats, clouds, registries, JSON web tokens.
    (
        re.compile(
            # As text that Python or an address has escaped holds them, too: \\nhf_… and %3Dhf_….
            r"(?:\b|(?<=\\[abfnrtv])|(?<=%[0-9A-Fa-f]{2}))(?:(?:hf|api_org)_\w{4,}|(?:sk|pk|rk|rpa|glpat|gldt|npm|dop_v1|r8|nvapi|lin_api|xox[abeoprs]|github_pat|gh[pousr])[_-][\w-]{8,}"
            r"|(?:AKIA|ASIA|AGPA|AIDA|AROA)[A-Z0-9]{12,}|AIza[\w-]{30,}|ya29\.[\w-]{8,}|pypi-[\w-]{16,}"
            r"|eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?)"
        ),
        HIDDEN,
    ),
    # Any other one that is called by its name: WANDB_API_KEY=…, 'password': '…', --token …
    (re.compile(rf"(?i)({_NAMED})['\"]?\s*[=:]\s*['\"]?)(?!\[hidden\])[^\s'\",;&]{{4,}}"), rf"\1{HIDDEN}"),
    # Also as a list of arguments is printed: ['--token', '…'].
    (
        re.compile(rf"(?i)((?<![\w-])--[\w-]{{0,40}}{_NAMED})(?:['\"],\s*['\"]|[\s=]['\"]?))(?!\[hidden\])[^\s'\"]{{4,}}"),
        rf"\1{HIDDEN}",
    ),
)


def hidden(text: str, environ: Mapping[str, str] | None = None) -> str:
    """`text` with `[hidden]` for everything that looks like a secret or is one of this environment.

    Escape sequences go: a secret that is coloured within, as by a search, would be none to look at.
    """
    text = without_escapes(text)
    # Longer ones first: one may hold another.
    for value in sorted(set(_values(os.environ if environ is None else environ)), key=len, reverse=True):
        text = text.replace(value, HIDDEN)
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text


def is_secret_name(name: str) -> bool:
    """Whether a variable of this name holds a secret."""
    return name in _PRIVATE_ADDRESSES or (_NAMES.search(name) is not None and _NO_NAMES.search(name) is None)


def _values(environ: Mapping[str, str]) -> Iterator[str]:
    for name, value in environ.items():
        if is_secret_name(name) and len(value) >= _LEAST:
            yield value
            yield from (line for line in value.splitlines() if len(line.strip()) >= _LEAST_LINE)

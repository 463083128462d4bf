"""What is a secret, in one list; and that there is no second."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loratui.engine.secrecy import HIDDEN, hidden, is_secret_name

ROOT = Path(__file__).parents[2]
S = "s3cr3tS3cr3t0123456789abcdefABCDEF"

TEXTS = [
    "hf_" + S,
    "login with hf_abcd",
    "sk-ant-api03-" + S,
    "sk_live_" + S,
    "rpa_" + S,
    "ghp_" + S,
    "github_pat_" + S,
    "glpat-" + S,
    "xoxb-" + S,
    "npm_" + S,
    "pypi-" + S,
    "r8_" + S,
    "AKIA" + "ABCDEFGH01234567",
    "AIza" + S,
    "ya29." + S,
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0." + S,
    "WANDB_API_KEY=" + S,
    "export CIVITAI_TOKEN='" + S + "'",
    '{"api_key": "' + S + '"}',
    "aws_secret_access_key = " + S,
    "password: " + S,
    "--token " + S,
    "--hf-token=" + S,
    "['loratui', '--token', '" + S + "']",
    "--token\t'" + S + "'",
    f"error:\\nhf_{S}",
    f"https://huggingface.co/x?next=%3Fkey%3Dhf_{S}",
    f"\x1b[1mhf_\x1b[0m{S[:9]}\x1b[0;31m{S[9:]}\x1b[m",
    "Authorization: Bearer " + S,
    "authorization: Basic " + S,
    "'Authorization': 'Token " + S + "'",
    "Cookie: session=" + S,
    f"https://me:{S}@host/x",
    f"https://{S}@host/x",
    f"http://me:p@{S}@host:80",
    f"http://me:a/{S}@host/x",
    f"https://civitai.com/api/download/models/1?type=Model&token={S}",
    f"https://bucket.s3.amazonaws.com/x?X-Amz-Credential={S}&X-Amz-Expires=60&X-Amz-Signature={S}",
    f"https://cdn-lfs.hf.co/x?Expires=1&Policy={S}&Signature={S}&Key-Pair-Id={S}",
    f"-----BEGIN OPENSSH PRIVATE KEY-----\n{S}\n{S}\n-----END OPENSSH PRIVATE KEY-----\nend",
    f"-----BEGIN RSA PRIVATE KEY-----\n{S}",
]


@pytest.mark.parametrize("text", TEXTS)
def test_what_looks_like_a_secret_is_hidden(text: str) -> None:
    shown = hidden(f"before {text} after", {})
    assert HIDDEN in shown
    assert not re.search(r"s3cr3t|abcd\b|ABCDEFGH0123|eyJhbG", shown), shown
    assert shown.startswith("before ")
    assert hidden(shown, {}) == shown


@pytest.mark.parametrize(
    "text",
    [
        "12 tokens of 75",
        "the token limit is 75",
        "https://huggingface.co/owner/name?download=true",
        "https://example.org/a@b",
        "tokenizer/tokenizer.json",
        "sk-image 0.25, hf-xet 1.2",
        "step 12: loss 0.1234, key frames",
        "password?",
        "ssh -L 8765:localhost:8765 me@box",
    ],
)
def test_what_only_sounds_like_one_stays(text: str) -> None:
    assert hidden(text, {}) == text


@pytest.mark.parametrize(
    "name",
    [
        *("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "WANDB_API_KEY", "CIVITAI_TOKEN", "CIVITAI_KEY", "AWS_SECRET_ACCESS_KEY"),
        *("AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN", "RUNPOD_API_KEY", "VAST_CONTAINERLABEL_KEY", "SSH_KEY", "SSH_PRIVATE_KEY"),
        *("PUBLIC_KEY", "OPENAI_KEY", "DB_PASSWORD", "PGPASSWD", "JUPYTER_PASSWORD", "GIT_PAT", "NPM_AUTH", "MY_CREDENTIALS"),
    ],
)
def test_variables_that_hold_a_secret_hide_it(name: str) -> None:
    assert is_secret_name(name)
    assert hidden(f"a {S} b", {name: S}) == f"a {HIDDEN} b"


@pytest.mark.parametrize(
    "name",
    [
        *("TOKENIZERS_PARALLELISM", "SSH_AUTH_SOCK", "XAUTHORITY", "HF_TOKEN_PATH", "KEYBOARD_LAYOUT", "MONKEY", "HOME"),
        *("AUTHOR", "GOOGLE_APPLICATION_CREDENTIALS_FILE", "KEYMAP", "PATH"),
    ],
)
def test_variables_that_hold_none_stay(name: str) -> None:
    assert hidden(f"a {S} b", {name: S}) == f"a {S} b"


def test_a_key_of_several_lines_is_hidden_line_by_line() -> None:
    key = f"begin of the key {S}\n{S[::-1]}\nend"
    assert hidden(f"log: {S[::-1]}", {"DEPLOY_KEY": key}) == f"log: {HIDDEN}"


def test_of_two_secrets_of_which_one_holds_the_other_nothing_is_left() -> None:
    assert hidden("abcdefgh12345678", {"A_TOKEN": "abcdefgh", "B_TOKEN": "abcdefgh12345678"}) == HIDDEN


@given(st.text(max_size=200))
def test_any_text_can_be_looked_through_again_and_again(text: str) -> None:
    once = hidden(text, {})
    assert hidden(once, {}).count("\n") == once.count("\n")


def test_a_long_text_takes_no_long_time() -> None:
    import time

    for text in (
        "://" + "a" * 300_000,
        "token" * 60_000,
        "a-" * 150_000,
        "-----BEGIN PRIVATE KEY-----" * 10_000,
        "eyJ" * 100_000,
        "-" * 600_000,
    ):
        started = time.process_time()
        hidden(text, {})
        assert time.process_time() - started < 2.0, text[:20]


def test_there_is_no_second_list() -> None:
    lists = re.compile(r"github_pat|AKIA|xox\[|passwd\|")
    found = [
        path.relative_to(ROOT).as_posix()
        for folder in ("engine", "tui", "presets")
        for path in (ROOT / folder).rglob("*.py")
        if lists.search(path.read_text())
    ]
    assert found == ["engine/secrecy.py"]

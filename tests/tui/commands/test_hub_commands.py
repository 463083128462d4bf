"""`loratui bases`, `download` and `login`, as a person or a script uses them."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import made_models as made
import pytest
from hub_server import TOKEN, Hub, serve

from loratui.engine.machine.hub import Progress
from loratui.tui import cli
from loratui.tui.commands.download import ProgressLines, progress_text


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = cli.main(list(words))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def as_json(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    code, out, _ = run(capsys, *words, "--json")
    assert code == 0
    table = json.loads(out)
    assert isinstance(table, dict)
    return table


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with serve(Hub({"model.safetensors": b"weights" * 1000, "other.bin": b"x"})) as running:
        for name in ("HF_HUB_OFFLINE", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HF_ENDPOINT", running.address)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        yield running


def test_the_list_of_bases(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made.write(tmp_path / "models" / "pony.safetensors", made.sdxl())
    made.write(tmp_path / "models" / "paint\x1b[31m.safetensors", made.sd15(inputs=9))
    made.write(tmp_path / "models" / "lora.safetensors", {"lora_unet_a.lora_down.weight": (4, 4)})
    made.write(tmp_path / "models" / "flux.safetensors", made.flux())
    table = as_json(capsys, "bases", str(tmp_path))
    assert set(table) == {"bases", "cut"}
    by_name = {Path(base["path"]).name: base for base in table["bases"]}
    assert set(by_name) == {"pony.safetensors", "paint\x1b[31m.safetensors", "flux.safetensors"}
    keys = {"model", "where", "path", "family", "title", "prediction", "bytes", "missing", "usable", "problem", "remedy"}
    assert set(by_name["pony.safetensors"]) == keys
    assert (by_name["pony.safetensors"]["family"], by_name["pony.safetensors"]["usable"]) == ("sdxl", True)
    assert table["bases"][0]["path"].endswith("pony.safetensors")  # what can be used comes first
    assert by_name["flux.safetensors"]["missing"] == ["vae", "text_encoder", "text_encoder_2", "tokenizer_2"]
    _, out, _ = run(capsys, "bases", str(tmp_path))
    assert "\x1b" not in out
    assert "this is an inpainting model" in out
    assert "needs FLUX VAE (ae) and CLIP-L text encoder and T5-XXL text encoder and T5 tokenizer" in out


def test_places_that_are_not_there_and_files_among_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = made.write(tmp_path / "a.safetensors", made.sd15())
    lora = made.write(tmp_path / "b.safetensors", {"lora_unet_a.lora_down.weight": (4, 4)})
    told = as_json(capsys, "bases", str(one), str(lora))["bases"]
    assert [(Path(base["path"]).name, base["usable"]) for base in told] == [("a.safetensors", True), ("b.safetensors", False)]
    assert "this is a LoRA" in told[1]["problem"]
    for gone in (str(tmp_path / "none"), "~nobody-of-this-name/x", "a" * 300):
        for places in ([gone], [str(tmp_path), gone]):
            code, _, err = run(capsys, "bases", *places)
            assert code == 2
            assert "no such base model" in err or "File name too long" in err
    (tmp_path / "empty").mkdir()
    code, out, _ = run(capsys, "bases", str(tmp_path / "empty"))
    assert (code, "No base model found" in out) == (0, True)


def test_without_a_place_the_embedded_base_is_always_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert "embedded:sd15" in [base["model"] for base in as_json(capsys, "bases")["bases"]]


def test_one_model_is_explained_or_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = made.write(tmp_path / "a.safetensors", {**made.sdxl(), "v_pred": (0,)})
    table = as_json(capsys, "bases", str(path))
    assert (table["family"], table["layout"], table["prediction"], table["missing"]) == ("sdxl", "single_file", "v", [])
    assert table["parts"]["unet"]["prefix"] == "model.diffusion_model."
    path.write_bytes(b"<!DOCTYPE html>")
    code, out, err = run(capsys, "bases", str(path))
    assert (code, out) == (2, "")
    assert "web page" in err


def test_a_download_says_what_it_fetches_and_needs_a_yes(server: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "download", "owner/name")
    assert code == 2
    assert "there is no terminal to ask on. Add --yes." in err
    assert not server.bodies()
    table = as_json(capsys, "download", "owner/name", "--yes")
    assert set(table) == {"repo", "commit", "folder", "licence", "gated", "files", "bytes", "fetched_bytes"}
    assert table["files"] == ["model.safetensors"]
    assert (Path(table["folder"]) / "model.safetensors").read_bytes() == server.files["model.safetensors"]
    code, out, err = run(capsys, "download", "owner/name")  # nothing left to ask for
    assert (code, out.strip()) == (0, table["folder"])
    assert "everything is already here" in err


def test_refusals_have_their_exit_codes(server: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "download", "owner/nothing")
    assert (code, "no model of this name" in err) == (2, True)
    server.needs_token = True
    code, _, err = run(capsys, "download", "owner/name")
    assert (code, f"Accept them at {server.address}/owner/name" in err) == (69, True)


def test_login_reads_no_line_without_end(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    class Endless(io.StringIO):
        def readline(self, size: int | None = -1, /) -> str:
            assert size is not None
            assert 0 < size < 1 << 20
            return "\0" * size

    monkeypatch.setattr(sys, "stdin", Endless())
    assert cli.main(["login"]) == 69
    assert "holds characters that no token has" in capsys.readouterr().err.replace("\n", " ")


def test_login_takes_a_token_from_a_pipe_and_shows_it_nowhere(
    server: Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, _ = run(capsys, "login", "--status")
    assert (code, "Not signed in" in out) == (1, True)
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    assert run(capsys, "login")[0] == 2
    monkeypatch.setattr(sys, "stdin", io.StringIO("hf_somethingWrong\n"))
    code, out, err = run(capsys, "login")
    assert (code, "does not accept your token" in err) == (69, True)
    assert "hf_something" not in out + err
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{TOKEN}\n"))
    code, out, err = run(capsys, "login")
    assert (code, TOKEN in out + err) == (0, False)
    assert "as person with a token that can read." in out
    assert as_json(capsys, "login", "--status") == {
        "signed_in": True,
        "name": "person",
        "role": "read",
        "from_environment": False,
        "endpoint": server.address,
    }
    assert run(capsys, "login", "--logout")[0] == 0
    assert run(capsys, "login", "--status")[0] == 1


def test_progress_in_words() -> None:
    assert progress_text(Progress(1_700_000_000, 6_900_000_000, 45e6, "a")).startswith(
        "1.7 GB of 6.9 GB (24 %), 45.0 MB/s, 2 min 00 s left"
    )
    assert progress_text(Progress(5, 10, 0.0, "a", "connection lost; again in 2 s")).endswith(
        "(50 %), connection lost; again in 2 s"
    )
    assert progress_text(Progress(0, 0, 0.0, "")).endswith("(100 %)")


def test_progress_is_painted_over_only_on_a_terminal() -> None:
    out = io.StringIO()
    lines = ProgressLines(out)
    for done in range(100):
        lines.show(Progress(done, 100, 1.0, "a"))
    lines.end()
    lines.end()
    assert out.getvalue().splitlines() == [progress_text(Progress(done, 100, 1.0, "a")) for done in (0, 99)]
    assert "\x1b" not in out.getvalue()

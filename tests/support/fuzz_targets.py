"""The readers of what strangers write, each as a function of bytes: what they may raise, and inputs to begin with."""

from __future__ import annotations

import contextlib
import io
import json
import random
import shutil
import struct
import sys
import time
import warnings
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from loratui.engine import families
from loratui.engine.dataset import archives, captions, decoding, ledger, prepared_copy
from loratui.engine.errors import DatasetError, UsageError
from loratui.engine.formats.base_files import identify, read_file
from loratui.engine.formats.base_parts import BaseRefused
from loratui.engine.formats.lora_facts import lora_file_facts
from loratui.engine.formats.lora_keys import is_text_layer, sort_keys, split
from loratui.engine.formats.part_fit import wanted_sizes
from loratui.engine.formats.safetensors_file import read_checked, shards_of
from loratui.engine.planning.base_search import Memory, judged_by
from loratui.engine.planning.bases import is_tokenizer_of
from loratui.engine.planning.lora_size import denoiser_config, targeted, text_encoders_of
from loratui.engine.planning.recipe import read_recipe
from loratui.engine.planning.validation_grid import read_wish
from loratui.engine.proof.judgement import read_judgement
from loratui.engine.proof.notes import read_checklist
from loratui.engine.runs import changes, control, lock
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.events import Event, encode, read_events
from loratui.engine.runs.state import RunState
from loratui.engine.runs.state_file import read_state
from loratui.engine.runs.verdict import Evidence, judge
from loratui.engine.untrusted import Unreadable, parse_json
from loratui.presets import read_preset
from loratui.presets.schema import SchemaError, Settings, parse_value
from loratui.tui import settings
from loratui.tui.dataset.recent import recent_folders
from loratui.tui.runs import figures
from loratui.tui.runs.store import RunStore
from loratui.tui.terminal.thumbnails import ThumbnailError
from loratui.tui.terminal.thumbnails import load as load_thumbnail
from loratui.tui.validation.grid_images import read_listed, training_paths
from loratui.tui.wizard.drafts import list_drafts

MOST_S, MOST_MIB = 2.0, 300
"""What one input may take: seconds of the processor, and memory."""

FAMILIES: Any = ("sd15", "sdxl", "flux")


@dataclass(frozen=True)
class Target:
    """One reader. `run` gets an input and an empty folder of its own."""

    run: Callable[[bytes, Path], None]
    seeds: Callable[[], list[bytes]]
    allowed: tuple[type[Exception], ...]
    """What may be raised."""
    most_bytes: int = 1 << 16
    """Of an input that a fuzzer makes."""
    most_s: float = MOST_S


@dataclass(frozen=True)
class Fault:
    """An input that a reader could not deal with."""

    kind: str
    """Where and what, so that the same fault is counted once."""
    data: bytes


def tried(target: Target, data: bytes, folder: Path) -> Fault | None:
    """Runs one input; a fault is any other exception than those allowed, and one that takes too long."""
    started = time.process_time()
    try:
        target.run(data, folder)
    except target.allowed:
        pass
    except Exception as error:
        return Fault(_place(error), data)
    finally:
        for entry in folder.iterdir():
            shutil.rmtree(entry, ignore_errors=True) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    took = time.process_time() - started
    return Fault(f"slow-{target.run.__name__}", data) if took > target.most_s else None


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    places = []
    while trace is not None:
        code = trace.tb_frame.f_code
        places.append(f"{Path(code.co_filename).stem}-{trace.tb_lineno}")
        trace = trace.tb_next
    return f"{type(error).__name__}-{'-'.join(places[-2:])}"


def mutated(data: bytes, source: random.Random, others: Sequence[bytes]) -> bytes:
    """A neighbour of an input: bytes changed, cut, doubled, or put together with another."""
    changed = bytearray(data)
    for _ in range(source.choice((1, 1, 2, 4, 16))):
        at = source.randrange(len(changed) + 1)
        length = source.choice((1, 1, 2, 4, 32))
        match source.randrange(7):
            case 0:
                changed[at : at + length] = source.randbytes(length)
            case 1:
                del changed[at : at + length]
            case 2:
                changed[at:at] = source.choice(TOKENS)
            case 3:
                changed[at:at] = changed[at : at + length] * source.choice((2, 8, 64))
            case 4 if at < len(changed):
                changed[at] ^= 1 << source.randrange(8)
            case 5:
                other = source.choice(others)
                begin = source.randrange(len(other) + 1)
                changed[at : at + length] = other[begin : begin + 64]
            case _:
                changed[at : at + length] = source.choice((b"\0", b"\xff")) * length
    return bytes(changed)


TOKENS = (
    b"[", b"]", b"{", b"}", b'"', b"'", b"\\", b",", b":", b"=", b".", b"\n", b"null", b"true", b"-1", b"1e999", b"NaN", b"\\ud800",
    b"99999999999999999999999999", b'"""', b"'''", b"#", b"\0", b"\xff\xd8", b"PK\x03\x04", b"\x7f\xff\xff\xff", b"../", b"/",
    b".lora_A.default_0.weight", b".lora_down.weight", b".processor.", b"transformer.", b"diffusion_model.", b'"a":', b"[[",
)  # fmt: skip


# ---- safetensors headers


def header(data: bytes, folder: Path) -> None:
    """Any file, or with an even first byte a header that its length and data fit."""
    path = folder / "x.safetensors"
    body = data[1:]
    if data[:1] and data[0] % 2 == 0:
        path.write_bytes(struct.pack("<Q", len(body)) + body + bytes(_data_bytes(body)))
    else:
        path.write_bytes(body)
    (folder / "y.safetensors.index.json").write_bytes(body)
    with contextlib.suppress(UsageError):
        shards_of(folder / "y.safetensors.index.json")
    try:
        tables = read_file(path)
        identify(path)
    except BaseRefused:
        tables = None
    found, whole = read_checked(path, 1 << 26)
    lora_file_facts(path)
    from safetensors import deserialize

    assert len(deserialize(whole)) == len(found.tensors), "what is taken here, the library takes too"
    assert tables is None or tables.tensors.keys() == found.tensors.keys()


def _data_bytes(body: bytes) -> int:
    try:
        table = parse_json(body)
        ends = [entry["data_offsets"][1] for name, entry in table.items() if name != "__metadata__"]
        return int(max(ends)) if 0 < max(ends) < 4096 else 0
    except (Unreadable, AttributeError, KeyError, TypeError, IndexError, ValueError):
        return 0


def header_seeds() -> list[bytes]:
    entry = {"dtype": "F16", "shape": [2, 2], "data_offsets": [0, 8]}
    tables: list[dict[str, Any]] = [
        {"__metadata__": {"format": "pt"}, "w": entry, "v": {"dtype": "F32", "shape": [], "data_offsets": [8, 12]}},
        *({name: entry} for name in ("input_blocks.0.0.weight", "double_blocks.0.img_attn.qkv.weight", "encoder.block.0.layer.0.SelfAttention.q.weight",
          "text_model.encoder.layers.0.self_attn.q_proj.weight", "decoder.mid.block_1.conv1.weight", "lora_unet_x.lora_down.weight",
          "double_blocks.0.processor.qkv_lora1.down.weight")),
        {"w": {"dtype": "F8_E4M3", "shape": [0, 5], "data_offsets": [0, 0]}},
    ]  # fmt: skip
    return [
        *(b"\0" + json.dumps(table).encode() for table in tables),
        b"\1" + struct.pack("<Q", 2) + b"{}",
        b"\1PK\3\4",
        b"\0" + b'{"weight_map": {"a": "b"}}',
    ]


# ---- JSON


def json_files(data: bytes, folder: Path) -> None:
    """Every small JSON file of the program and of bases."""
    for unique in (False, True):
        try:
            value = parse_json(data, unique=unique)
            json.dumps(value, allow_nan=False)
        except Unreadable:
            pass
    run = RunDirectory(folder)
    for path in (run.state, run.changes, run.marker, run.lock, run.dataset):
        path.write_bytes(data)
    read_state(run)
    changes.read(run)
    run.created()
    lock.read_owner(run.lock)
    (folder / "drafts").mkdir()
    (folder / "drafts" / "a.json").write_bytes(data)
    for draft in list_drafts(folder):
        assert isinstance(draft.title, str)
    run.control.mkdir()
    (run.control / "20261121000000000000-abcd-stop.json").write_bytes(data)
    control.pending(run)
    for name in ("recent-folders.json", "tokenizer.json", archives.RECORD, prepared_copy.RECORD, "x.json"):
        (folder / name).write_bytes(data)
    recent_folders(folder)
    is_tokenizer_of(families.family("flux").part("tokenizer_2"), folder)
    archives.left_out_of(folder)
    Memory.load(folder / "x.json")
    read_listed(folder / "x.json")
    read_checklist(folder / "x.json")
    training_paths(folder / "x.json")
    run.validation.mkdir()
    (run.validation / "measures.json").write_bytes(data)
    read_judgement(run, Settings())
    for part in ("unet", "text_encoder", "text_encoder_2"):
        (folder / part).mkdir()
        (folder / part / "config.json").write_bytes(data)
    denoiser_config("sd15", folder)
    denoiser_config("flux", folder)
    text_encoders_of("sdxl", folder)
    readers: list[Callable[[], object]] = [
        lambda: prepared_copy.read_history(folder),
        lambda: read_wish(folder / "x.json"),
        lambda: ledger.read_table(run.dataset),
        lambda: wanted_sizes(folder, families.family("flux")),
    ]
    for reader in readers:
        with contextlib.suppress(UsageError, DatasetError):
            reader()


def json_seeds() -> list[bytes]:
    texts = dict.fromkeys(("title", "figure", "means", "unknown", "about", "limits", "unit"), "")
    measured_row = {**texts, "id": "likeness", "value": 0.5, "spread": 0.1, "base": 0.1, "range": [0.4, 0.6]}
    tables: list[Any] = [
        {"v": 1, "step": 3, "loss_smoothed": 0.1, "preset": "demo", "seconds": 1e3},
        {"format": 1, "saved": 1.5, "step": "plan", "preset": "demo", "changes": {"adapter.rank": 4}, "typed": {}, "others": {}},
        {"v": 1, "id": "20261121000000000000-abcd", "command": "stop", "args": {}},
        {"v": 1, "supervisor": {"pid": 1, "start": 2, "boot_id": "x", "host": "y"}, "trainer": None, "job": "train", "since": 1.0},
        {"format": 1, "grids": ["strengths"], "images": [{"grid": "strengths", "prompt": "p", "seed": 1, "file": "f", "path": "a.png", "strength": 1}]},
        {"format": 2, "ticked": {"likeness": 1.0}, "notes": {}, "seen": [], "files": {"output/a": {"rating": 3, "note": "x"}}, "chosen": ""},
        {"format": 1, "file": "output/a", "strength": 1.0, "parts": [{"id": "likeness", "measures": [measured_row], "images": []},
         {"id": "checkpoints", "measures": [{**measured_row, "curve": [{"file": "output/a", "step": 9, "strength": 1, "value": 0.4}]}], "images": []}],
         "verdict": {"kind": "good", "confidence": 0.9, "reasons": ["x"]}, "best": {"file": "output/a", "step": 9, "strength": 1.0, "reason": "y"},
         "advice": [{"id": "a", "change": "b", "why": "c", "do": {"settings": {"adapter.rank": 8}}}]},
        {"judged_by": judged_by(), "seen": {"/x": {"stamp": [1, 2, 3], "is": {"path": "/x", "held": [], "missing": []}}}},
        {"block_out_channels": [8, 16], "layers_per_block": 1, "cross_attention_dim": 16, "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
         "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"], "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2},
        {"model": {"type": "Unigram", "vocab": [["<pad>", 0.0], ["</s>", 0.0]]}},
        {"format": 1, "source": "/x", "remedies": [], "images": [{"image": "a", "source": "b"}], "left_out": [{"relative": "c", "reason": "d"}]},
        {"format": 1, "prompts": ["a"], "every_image_steps": 4, "stop_after_epoch": 1, "strengths": [1.0], "seeds": 1, "grids": ["strengths"], "v": 1},
        ["/a", "/b"], [["a", "b"]], [], 3, None, "x",
    ]  # fmt: skip
    return [json.dumps(table).encode() for table in tables]


# ---- TOML


def toml_files(data: bytes, folder: Path) -> None:
    """A recipe, a preset, and the app's own settings."""
    for name in ("recipe.toml", "app.toml", "keys.toml"):
        (folder / name).write_bytes(data)
    for reader in (read_recipe, read_preset):
        try:
            reader(folder / "recipe.toml")
        except SchemaError as error:
            if len(str(error)) > 1000:
                raise ValueError("too long an error") from error
    loaded = settings.load(folder)
    assert len(loaded.problems) < 1000
    settings.save(settings.AppSettings(bell=False), folder)
    assert not settings.load(folder).settings.bell
    with contextlib.suppress(SchemaError):
        parse_value("adapter.rank", data.decode("utf-8", "replace")[:2000])


def toml_seeds() -> list[bytes]:
    return [
        b'format = 1\npreset = "demo"\nchanged = ["adapter.rank"]\n[adapter]\nrank = 8\n',
        b'title = "mine"\nextends = "sd15-portrait"\n[adapter]\nrank = 8\n[why]\n"adapter.rank" = { text = "x", source = "y" }\n[variants.p]\n[variants.p.optimizer]\nname = "prodigy"\n',
        b'format = 1\ntheme = "dark"\nbell = true\nprice_per_hour = 0.5\n',
        b'pause = "p"\nstop = ["ctrl+x", "f6"]\n',
        b'[samples]\nprompts = [\n  \'a\',\n  """b\n""",\n]\n[validation]\nstrengths = [0.5, 1]\n',
        b"a = 1979-05-27T07:32:00Z\nb = 0xff\nc = inf\nd.e.f = '''x'''\n",
    ]


# ---- zips and images


def zip_files(data: bytes, folder: Path) -> None:
    """A zip is unpacked into its own folder, and nothing is written beside it."""
    path, target = folder / "in.zip", folder / "out" / "images"
    path.write_bytes(data)
    archives.is_archive(path)
    try:
        archives.unpack(path, target)
    finally:
        assert {entry.name for entry in folder.iterdir()} <= {"in.zip", "out"}, "written beside the target"


def zip_seeds() -> list[bytes]:
    seeds = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", method) as archive:
            archive.writestr("a/10_x woman/1.png", image("PNG"))
            archive.writestr("a/10_x woman/1.txt", "a caption")
            archive.writestr("../out.txt", "x")
        seeds.append(packed.getvalue())
    return [*seeds, b"PK\x05\x06" + bytes(18)]


def image(form: str, mode: str = "RGB", **options: Any) -> bytes:
    """A small image as a file."""
    made = io.BytesIO()
    Image.linear_gradient("L").resize((16, 12)).convert(mode).save(made, form, **options)
    return made.getvalue()


def images(data: bytes, folder: Path) -> None:
    """The reader of images for training, and that of the screen."""
    warnings.filterwarnings("ignore", module=r"PIL\.")
    path = folder / "x.png"
    path.write_bytes(data)
    with contextlib.suppress(ThumbnailError):
        load_thumbnail(path, 8, 4)
    decoding.read_header(path)
    decoding.check_decodes(path)
    decoding.load_rgb(path)


def image_seeds() -> list[bytes]:
    exif = Image.Exif()
    exif[0x0112] = 6
    return [
        image("PNG"), image("PNG", "RGBA"), image("PNG", "P"), image("PNG", "L"), image("PNG", "1"),
        image("JPEG", exif=exif), image("JPEG", progressive=True), image("WEBP", lossless=True), image("TIFF"),
        image("TIFF", compression="tiff_lzw"), image("BMP"), image("GIF"),
    ]  # fmt: skip


# ---- event logs


def events(data: bytes, folder: Path) -> None:
    """Lines as they are, and each with the checksum that it ought to have."""
    path = folder / "events.jsonl"
    body = data[1:]
    if data[:1] and data[0] % 2 == 0:
        lines = (line.rstrip(b"}") for line in body.split(b"\n"))
        body = b"".join(b'%s,"crc":"%08x"}\n' % (line, zlib.crc32(line)) for line in lines)
    path.write_bytes(body)
    history, offset = RunStore(), 0
    while True:
        batch = read_events(path, offset)
        history.apply_batch(batch)
        if batch.offset == offset:
            break
        offset = batch.offset
    state = history.state
    assert figures.phase(state)
    _ = (state.fraction, state.time_left, state.last_step, history.newest_output, state.loss_smoothed)
    again = RunState.from_json(json.loads(json.dumps(state.to_json(), allow_nan=False)))
    again.apply(Event("step", state.seq + 1, 9.0, {"step": 3, "loss": 0.1, "step_s": 0.1}))
    verdict = judge(Evidence(name="x", state=state, held=False, quiet_s=1.0))
    assert verdict.exit_code is None or 0 <= verdict.exit_code < 256


def event_seeds() -> list[bytes]:
    lines = [
        encode("run_started", 1, 1.0, {"name": "x", "images": 3, "epochs": 2, "image_steps": 6, "optimizer_steps": 6, "steps_per_epoch": 3, "resumed_step": 0}),
        encode("step", 2, 2.0, {"step": 1, "image_step": 1, "epoch": 1, "loss": 0.1, "lr": 1e-4, "grad_norm": 0.2, "step_s": 0.3}),
        encode("changes_in_force", 3, 2.5, {"prompts": ["a"], "every_image_steps": 3, "stop_after_epoch": 1}),
        encode("telemetry", 4, 3.0, {"gpu": "x", "gpu_percent": 3.0, "throttle": ["heat"], "cpu_percent": 4, "cpus": 2}),
        encode("run_finished", 5, 4.0, {"status": "done", "exit_code": 0, "reason": "", "advice": "", "step": 6}),
    ]  # fmt: skip
    return [b"\0" + b"".join(lines), b"\1" + b"".join(lines), *(b"\0" + line for line in lines)]


# ---- what the hub answers


def hub_answer(data: bytes, folder: Path) -> None:
    """The job's look at a repository, with this for the hub's answer."""
    del folder
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import ModelInfo

    from loratui.engine.machine import hub_worker

    real, knocks = HfApi.model_info, hub_worker._knock
    heads = hub_worker._head
    HfApi.model_info = lambda *_, **__: ModelInfo(**json.loads(data))  # type: ignore[assignment,method-assign]
    hub_worker._knock = lambda *_: None
    hub_worker._head = lambda *_: type("Head", (), {"etag": "0" * 40, "size": 3})
    try:
        hub_worker.look_up({"repo": "a/b", "files": []})
    finally:
        HfApi.model_info, hub_worker._knock, hub_worker._head = real, knocks, heads  # type: ignore[method-assign]  # what this test replaces


def hub_seeds() -> list[bytes]:
    files = [{"rfilename": "model_index.json", "size": 3, "blobId": "1" * 40}, {"rfilename": "unet/config.json", "size": 3, "blobId": "2" * 40},
             {"rfilename": "unet/diffusion_pytorch_model.safetensors", "size": 9, "lfs": {"sha256": "3" * 64, "size": 9, "pointerSize": 3}}]  # fmt: skip
    whole = {
        "id": "a/b",
        "sha": "4" * 40,
        "siblings": files,
        "tags": ["license:mit"],
        "gated": False,
        "cardData": {"license": "mit"},
    }
    single = {**whole, "siblings": [{"rfilename": "x.safetensors", "size": 3, "blobId": "1" * 40}]}
    return [
        json.dumps(whole).encode(),
        json.dumps(single).encode(),
        b'{"type": "done", "is": {}}',
        b'{"type": "progress", "is": null}',
    ]


# ---- names in LoRA files, and captions


def lora_names(data: bytes, folder: Path) -> None:
    """Names one a line, looked for in every family; and the same bytes as a caption."""
    del folder
    names = data.decode("utf-8", "replace").split("\n")
    for family in FAMILIES:
        found = sort_keys(names, family, _layers(family))
        told = [name for layer in found.layers.values() for name in layer.values()]
        assert sorted([*told, *found.others]) == sorted(names), "every name is told, once"
    for name in names:
        split(name)
        is_text_layer(name)
    caption = captions.decode(data)
    captions.lines(caption.text)
    captions.shuffled(caption.text, 1, 3)


_LAYERS: dict[str, list[Any]] = {}


def _layers(family: Any) -> list[Any]:
    if family not in _LAYERS:
        own = [("denoiser", layer.name) for layer in targeted(family, "attention")[:12]]
        _LAYERS[family] = [*own, ("text_encoder", "encoder.layers.0.self_attn.q_proj")]
    return _LAYERS[family]


LISTS = (".json", ".jsonl", ".csv", ".toml")


def lists(data: bytes, folder: Path) -> None:
    """Lists of captions and of folders. The first byte says which ending the file has."""
    from loratui.engine.dataset import caption_lists, folder_lists

    path = folder / f"list{LISTS[(data or b' ')[0] % len(LISTS)]}"
    path.write_bytes(data[1:])
    for text in caption_lists.read(path).captions.values() if path.suffix != ".toml" else ():
        assert all(words.isprintable() or "\n" in words for words in text if words.isascii())
    if path.suffix in folder_lists.SUFFIXES:
        folder_lists.read(path)


def list_seeds() -> list[bytes]:
    concept = {
        "path": "a",
        "name": "b",
        "balancing": 2.5,
        "image": {"enable_random_flip": True},
        "text": {"prompt_source": "concept"},
    }
    backend = {
        "id": "a",
        "instance_data_dir": "b",
        "caption_strategy": "instanceprompt",
        "instance_prompt": ["x"],
        "repeats": 3,
    }
    captions = {"a.png": {"caption": "x", "tags": "y, z"}, "b.png": ["one", "two"], "c": "text"}
    tables = [[concept], {"concepts": [concept, concept]}, [backend], captions, [{"file_name": "a.png", "text": "x"}]]
    return [
        *(b"\0" + json.dumps(table).encode() for table in tables),
        b'\1{"image_path": "a.png", "caption": "x"}\n{"id": 3, "text": "y"}\n',
        b'\2file_name;text\r\na.png;"x; y"\r\n',
        b"\2a.png,x,y\n",
        b"\2" + "file_name,text\na.png,x\n".encode("utf-16"),
        b"\3[general]\nnum_repeats=2\n[[datasets]]\n[[datasets.subsets]]\nimage_dir='a'\nclass_tokens='b'\n",
    ]


SETTINGS = (".json", ".toml", ".yaml", ".sh")


def trainer_settings(data: bytes, folder: Path) -> None:
    """Settings of other trainers. The first byte says which ending the file has."""
    from loratui.engine.importing.result import import_settings

    path = folder / f"settings{SETTINGS[(data or b' ')[0] % len(SETTINGS)]}"
    path.write_bytes(data[1:])
    found = import_settings(path, images=5)
    json.dumps(found.to_json(), allow_nan=False)
    assert found.problem or found.recipe


def trainer_settings_seeds() -> list[bytes]:
    place = Path(__file__).parents[1] / "importing" / "files"
    names = (
        "on-site/skullkid.json", "simpletuner/flux-lora.json", "onetrainer/prodigy-lokr.json", "kohya_ss/sd3.json",
        "sd-scripts/prodigy-sd15.toml", "sd-scripts/flux-manual-dataset.toml", "ai-toolkit/flux-24gb.yaml", "fluxgym/20gb/train.sh",
    )  # fmt: skip
    ends = {ending: at for at, ending in enumerate(SETTINGS)}
    return [bytes([ends[Path(name).suffix]]) + (place / name).read_bytes() for name in names]


def lora_seeds() -> list[bytes]:
    layers = {family: _layers(family)[0][1] for family in FAMILIES}
    names = [
        *(f"{wrapper}{path}{end}" for path in layers.values() for wrapper in ("", "unet.", "base_model.model.") for end in (".lora_A.weight", ".lora_B.default_0.weight", ".alpha")),
        "double_blocks.0.processor.qkv_lora1.down.weight", "single_blocks.0.processor.proj_lora.up.weight",
        "diffusion_model.double_blocks.0.img_attn.qkv.lora_down.weight", "lora_te1_text_model_encoder_layers_0_self_attn_q_proj.lora_up.weight",
        "text_encoder.text_model.encoder.layers.0.self_attn.to_q_lora.down.weight", "x.hada_w1_a", "y.lokr_w2_b", "z.dora_scale",
    ]  # fmt: skip
    return ["\n".join(names[at : at + 4]).encode() for at in range(0, len(names), 4)] + [
        "a, b, c".encode("utf-16"),
        "写真".encode("gbk"),
    ]


def _failure() -> type[Exception]:
    from loratui.engine.machine.hub_words import Failure

    return Failure


TARGETS: dict[str, Target] = {
    "header": Target(header, header_seeds, (UsageError,)),
    "json": Target(json_files, json_seeds, (), most_s=8.0),  # twenty readers, one after the other
    "toml": Target(toml_files, toml_seeds, ()),
    "zip": Target(zip_files, zip_seeds, (DatasetError, UsageError)),
    "image": Target(images, image_seeds, (decoding.ImageError,)),
    "events": Target(events, event_seeds, ()),
    "hub": Target(hub_answer, hub_seeds, (_failure(), OSError)),
    "lora": Target(lora_names, lora_seeds, ()),
    "lists": Target(lists, list_seeds, (Unreadable,)),
    "settings": Target(trainer_settings, trainer_settings_seeds, (UsageError,)),
}
"""The ten readers by the names that the command takes."""


def memory_mib() -> float:
    """The most memory that this process ever had."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 if sys.platform != "darwin" else 1 << 20)

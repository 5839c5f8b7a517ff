"""Files that are not what they say: refused with a reason, before a number is read."""

import json
import os
import pickle
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from monitor.probes.weights.errors import Remedy, WeightsRefused
from monitor.probes.weights.files import opened
from monitor.probes.weights.inspection import inspect_folder
from monitor.probes.weights.numbers import DECODERS, e4m3
from monitor.probes.weights.safetensors import BLOCK, LARGEST_HEADER, Tensor, tensors_of
from tests.weights.folders import (
    Stored,
    bf16,
    factors,
    framed,
    layers,
    safetensors,
    write_adapter,
)

FILE = "adapter_model.safetensors"
NUMBERS = b"\0" * 16


def header(**entries: Any) -> bytes:
    return json.dumps(entries).encode()


def entry(begin: int = 0, end: int = 16, *, shape: Any = (4,), dtype: Any = "F32") -> Any:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def refused(folder: Path) -> WeightsRefused:
    with pytest.raises(WeightsRefused) as caught:
        inspect_folder(folder)
    return caught.value


class Marker:
    """Leaves a mark where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.path,)


CRAFTED: dict[str, tuple[bytes, str]] = {
    "empty file": (b"", "0 bytes are too few"),
    "shorter than a length": (b"\1\0\0", "3 bytes are too few"),
    "header of 2^60 bytes": (framed(b"{}", length=2**60), "says that its header has 1,152,921,"),
    "header longer than the file": (framed(b"{}", length=3), "header has 3 bytes"),
    "empty header": (framed(b""), "does not begin with '{'"),
    "not JSON": (framed(b"{nonsense}"), "not one of safetensors"),
    "JSON of another kind": (framed(b"[1, 2, 3]"), "does not begin with '{'"),
    "not UTF-8": (framed(b'{"\xff\xfe": 1}'), "not one of safetensors"),
    "half a surrogate": (framed(b'{"\\ud800": ' + header()[:0] + b"{}}"), "not one of"),
    "nested 100,000 deep": (framed(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"), "not one"),
    "a name twice": (
        framed(b'{"a": %s, "a": %s}' % ((json.dumps(entry()).encode(),) * 2), NUMBERS),
        "'a' stands in it twice",
    ),
    "a field twice": (
        framed(b'{"a": {"dtype": "F32", "dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}')
        + NUMBERS,
        "'dtype' stands in it twice",
    ),
    "a field too many": (framed(header(a=entry() | {"code": "x"}), NUMBERS), "unknown field"),
    "a field too few": (framed(header(a={"dtype": "F32"}), NUMBERS), "missing required field"),
    "metadata that is no text": (framed(header(__metadata__={"a": [1]})), "Expected `str`"),
    "overlapping tensors": (
        framed(header(a=entry(0, 16), b=entry(8, 24)), b"\0" * 24),
        "b overlaps the tensor before it",
    ),
    "a gap": (framed(header(a=entry(0, 16), b=entry(20, 36)), b"\0" * 36), "b follows a gap"),
    "bytes before the first": (framed(header(a=entry(8, 24)), b"\0" * 24), "a follows a gap"),
    "bytes after the last": (framed(header(a=entry()), b"\0" * 20), "4 bytes at its end"),
    "offsets beyond the file": (framed(header(a=entry(0, 16)), b"\0" * 8), "outside the file"),
    "offsets that run backwards": (framed(header(a=entry(16, 0)), NUMBERS), "outside the file"),
    "negative offsets": (framed(header(a=entry(-16, 0)), NUMBERS), "Expected `int` >= 0"),
    "a shape that does not fill its bytes": (
        framed(header(a=entry(shape=[5])), NUMBERS),
        "has 16 bytes, which F32 numbers of shape [5] do not fill",
    ),
    "a negative shape": (framed(header(a=entry(shape=[-2, -2])), NUMBERS), "Expected `int` >= 0"),
    # 2^62 times 4 is 0 in 64 bits, and 2^64 is 0 as a count
    "a shape that overflows": (
        framed(header(a=entry(shape=[2**62, 4])), NUMBERS),
        "do not fill",
    ),
    "a number beyond 64 bits": (
        framed(header(a=entry(shape=[2**80])), NUMBERS),
        "Expected `int` <=",
    ),
    "a shape of fractions": (framed(header(a=entry(shape=[1.5])), NUMBERS), "Expected `int`"),
    "ten dimensions": (framed(header(a=entry(shape=[1] * 9 + [4])), NUMBERS), "length <= 8"),
    "an unknown type": (framed(header(a=entry(dtype="F3")), NUMBERS), "unknown type 'F3'"),
    "a name that moves the cursor": (
        framed(header(**{"a\x1b[2J": entry()}), NUMBERS),
        "is not printable text",
    ),
    "a name with NUL": (framed(header(**{"a\0": entry()}), NUMBERS), "is not printable text"),
    "an endless name": (framed(header(**{"a" * 5000: entry()}), NUMBERS), "not printable text"),
}


@pytest.mark.parametrize("case", CRAFTED)
def test_a_crafted_file_is_refused_by_what_is_wrong_with_it(case: str, tmp_path: Path) -> None:
    raw, said = CRAFTED[case]
    error = refused(write_adapter(tmp_path, raw))
    assert error.refusal is Remedy.DAMAGED
    assert error.reason.startswith(f"{FILE}: ")
    assert said in error.reason


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_under_another_name_is_named_and_not_executed(
    tmp_path: Path, protocol: int
) -> None:
    mark = tmp_path / "executed"
    raw = pickle.dumps(Marker(mark), protocol=protocol)
    assert "a pickle, as torch.save writes" in refused(write_adapter(tmp_path, raw)).reason
    assert not mark.exists()


def test_what_torch_saves_is_named_too(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path, b"")
    with zipfile.ZipFile(folder / FILE, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Marker(tmp_path / "executed")))
    assert "a zip archive" in refused(folder).reason
    assert not (tmp_path / "executed").exists()


def test_a_folder_with_a_pickle_alone_says_how_to_save_it_otherwise(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path, b"")
    (folder / FILE).rename(folder / "adapter_model.bin")
    error = refused(folder)
    assert error.refusal is Remedy.UNSUPPORTED
    assert "safe_serialization=True" in error.reason


def test_a_name_with_a_path_in_it_is_only_a_name(tmp_path: Path, rng: np.random.Generator) -> None:
    a, b = factors(rng)
    tensors = {"../../etc/passwd.lora_A.weight": a, "../../etc/passwd.lora_B.weight": b}
    found = inspect_folder(write_adapter(tmp_path, tensors, target_modules=None))
    assert [module.module for module in found.modules] == ["../../etc/passwd"]


# --- what is not a file in the folder -----------------------------------------------------


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))


@pytest.mark.parametrize("name", [FILE, "adapter_config.json"])
@pytest.mark.parametrize("make", [_fifo, _socket, Path.mkdir])
def test_what_is_no_regular_file_is_refused_at_once(
    tmp_path: Path, name: str, make: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_adapter(tmp_path, b"")
    (folder / name).unlink()
    monkeypatch.chdir(folder)  # a socket's path is short
    make(Path(name))
    assert refused(folder).refusal in {Remedy.DAMAGED, Remedy.MISSING}


def test_a_device_behind_a_link_is_refused(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path, b"")
    (folder / FILE).unlink()
    (folder / FILE).symlink_to("/dev/zero")
    assert refused(folder).reason == f"{FILE}: leads out of the folder"


def test_a_link_out_of_the_folder_is_refused_and_one_inside_it_is_not(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    inside = write_adapter(tmp_path / "inside", layers(rng))
    outside = write_adapter(tmp_path / "outside", layers(rng))
    (inside / FILE).rename(inside / "weights.bin")
    (inside / FILE).symlink_to("weights.bin")
    assert inspect_folder(inside).tensors == 24
    (outside / FILE).unlink()
    (outside / FILE).symlink_to(inside / "weights.bin")
    assert "leads out of the folder" in refused(outside).reason


def test_a_hub_cache_keeps_contents_beside_its_snapshots(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    snapshot = write_adapter(tmp_path / "snapshots" / "abc123", layers(rng))
    (tmp_path / "blobs").mkdir()
    for name in (FILE, "adapter_config.json"):
        (snapshot / name).rename(tmp_path / "blobs" / name)
        (snapshot / name).symlink_to(f"../../blobs/{name}")
    assert inspect_folder(snapshot).tensors == 24


def test_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path, b"")
    (folder / FILE).unlink()
    (folder / FILE).symlink_to(FILE)
    assert refused(folder).refusal is Remedy.MISSING


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/b", "..", ".", "", "a\0b", "a\\b"])
def test_only_plain_names_are_opened(tmp_path: Path, name: str) -> None:
    with pytest.raises(WeightsRefused, match="plain file name"), opened(tmp_path, name):
        pass


def test_what_is_not_there_is_missing(tmp_path: Path) -> None:
    assert refused(tmp_path / "nowhere").refusal is Remedy.MISSING
    assert refused(tmp_path).refusal is Remedy.MISSING
    folder = write_adapter(tmp_path, b"")
    (folder / FILE).unlink()
    assert refused(folder).reason == f"{FILE}: No such file or directory"


def test_a_file_that_shrinks_while_it_is_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"\0" * 64)
    with opened(tmp_path, "weights") as file:
        os.truncate(tmp_path / "weights", 32)
        with pytest.raises(WeightsRefused, match="became shorter"):
            file.read(0, 64)


# --- the config ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "adapter_config.json: "),
        (b"[]", "Expected `object`"),
        (b'{"peft_type": "LORA"}', "missing required field"),
        (b'{"peft_type": "LORA", "r": 1' + b"0" * 30 + b', "lora_alpha": 8}', "Expected `int`"),
        (b'{"peft_type": "LORA", "r": 0, "lora_alpha": 8}', "Expected `int` >= 1"),
        (b'{"peft_type": "LORA", "r": 8, "lora_alpha": NaN}', "adapter_config.json: "),
        (b'{"peft_type": "LORA", "r": "8", "lora_alpha": 8}', "Expected `int`"),
        (b'{"peft_type": "LORA", "r": 8, "lora_alpha": 8, "revision": "\\u001b[2J"}', "printable"),
        (b'{"peft_type": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", "adapter_config.json: "),
        (b" " * (1 << 21), "has 2,097,152 bytes; at most 1,048,576 are read"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else f"{len(value)} bytes",
)
def test_a_config_is_refused_by_what_is_wrong_with_it(
    tmp_path: Path, raw: bytes, said: str
) -> None:
    folder = write_adapter(tmp_path, b"")
    (folder / "adapter_config.json").write_bytes(raw)
    error = refused(folder)
    assert error.refusal is Remedy.DAMAGED
    assert said in error.reason


def test_a_config_of_100_megabytes_is_not_read(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path, b"")
    os.truncate(folder / "adapter_config.json", 100_000_000)
    assert "has 100,000,000 bytes" in refused(folder).reason


@pytest.mark.parametrize("kind", ["IA3", "PROMPT_TUNING", "LOHA", "lora"])
def test_another_kind_of_adapter_is_named(tmp_path: Path, kind: str) -> None:
    error = refused(write_adapter(tmp_path, b"", peft_type=kind))
    assert error.refusal is Remedy.UNSUPPORTED
    assert error.reason == f"peft_type is {kind!r}; only LORA is inspected"


# --- numbers ------------------------------------------------------------------------------


def read_all(tensor: Tensor) -> np.ndarray:
    return np.concatenate(list(tensor.flat()))


def test_what_the_reference_library_writes_is_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    made: dict[str, np.ndarray] = {
        "a": rng.normal(size=(3, 5)).astype(np.float32),
        "b": rng.normal(size=(2, 2, 2)).astype(np.float16),
        "c": rng.normal(size=7),
        "none": np.zeros((0, 4), dtype=np.float32),
        "one": np.array(2.5, dtype=np.float32),
        "whole": np.arange(4, dtype=np.int32),
    }
    (tmp_path / "x").write_bytes(save(made, metadata={"format": "pt"}))
    with opened(tmp_path, "x") as file:
        found = tensors_of(file)
        assert found.keys() == made.keys()
        for name in ("a", "b", "c"):
            assert np.array_equal(read_all(found[name]), made[name].ravel())
        assert list(found["none"].flat()) == []
        assert read_all(found["one"]).tolist() == [2.5]


def test_bfloat16_is_read_to_its_last_bit(tmp_path: Path, rng: np.random.Generator) -> None:
    values = rng.normal(size=(8, 8)).astype(np.float32)
    values.view(np.uint32)[:] &= 0xFFFF0000  # numbers that bfloat16 can hold
    (tmp_path / "x").write_bytes(safetensors({"a": bf16(values)}))
    with opened(tmp_path, "x") as file:
        assert np.array_equal(read_all(tensors_of(file)["a"]), values.ravel())


def test_float8_is_read_as_torch_reads_it() -> None:
    torch = pytest.importorskip("torch")
    raw = bytes(range(256))
    bits = torch.frombuffer(bytearray(raw), dtype=torch.uint8)
    for name, kind in (("F8_E4M3", torch.float8_e4m3fn), ("F8_E5M2", torch.float8_e5m2)):
        expected = bits.view(kind).float().numpy()
        assert np.array_equal(DECODERS[name](raw).astype(np.float32), expected, equal_nan=True)
    assert np.isnan(e4m3(b"\xff"))


@pytest.mark.parametrize(
    "tensor",
    [
        np.ones((4, 16), dtype=np.int8),
        np.ones((4, 16), dtype=np.uint8),
        Stored("F8_E8M0", (4, 16), b"\1" * 64),
    ],
)
def test_quantised_factors_are_refused_by_name(
    tmp_path: Path, rng: np.random.Generator, tensor: Any
) -> None:
    _, b = factors(rng)
    tensors = {"m.q_proj.lora_A.weight": tensor, "m.q_proj.lora_B.weight": b}
    error = refused(write_adapter(tmp_path, tensors))
    assert error.refusal is Remedy.UNSUPPORTED
    assert "m.q_proj.lora_A.weight" in error.reason
    assert "no float type" in error.reason


def blocks_of(folder: Path, values: np.ndarray, way: str) -> list[np.ndarray]:
    (folder / "x").write_bytes(safetensors({"a": values}))
    with opened(folder, "x") as file:
        return list(getattr(tensors_of(file)["a"], way)())


@pytest.mark.parametrize("shape", [(BLOCK // 2 + 3, 3), (7, 5), (1, 1)])
def test_blocks_of_rows_give_every_number_once(tmp_path: Path, shape: tuple[int, int]) -> None:
    values = np.arange(shape[0] * shape[1], dtype=np.float32).reshape(shape)
    blocks = blocks_of(tmp_path, values, "by_rows")
    assert np.array_equal(np.vstack(blocks), values)
    assert max(block.size for block in blocks) <= BLOCK


@pytest.mark.parametrize("shape", [(3, BLOCK + 7), (5, 7), (1, 1), (2, 3, 5, 7)])
def test_blocks_of_columns_give_every_number_once(tmp_path: Path, shape: tuple[int, ...]) -> None:
    values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    blocks = blocks_of(tmp_path, values, "by_columns")
    assert np.array_equal(np.vstack(blocks), values.reshape(shape[0], -1).T)
    assert max(block.size for block in blocks) <= BLOCK


@pytest.mark.parametrize("way", ["by_rows", "by_columns", "flat"])
@pytest.mark.parametrize("shape", [[2**40, 0], [0, 2**40]])
def test_a_tensor_without_numbers_has_no_blocks_however_long_it_says_it_is(
    tmp_path: Path, shape: list[int], way: str
) -> None:
    (tmp_path / "x").write_bytes(framed(header(a=entry(0, 0, shape=shape))))
    with opened(tmp_path, "x") as file:
        assert list(getattr(tensors_of(file)["a"], way)()) == []


# --- whatever comes -----------------------------------------------------------------------

SOUND = safetensors(layers(np.random.default_rng(1), count=2))


@given(st.data())
@settings(max_examples=400)
def test_no_mutation_of_a_sound_file_does_anything_but_be_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    raw = bytearray(SOUND)
    for _ in range(data.draw(st.integers(1, 8))):
        kind = data.draw(st.sampled_from(["flip", "cut", "insert", "splice"]))
        # most of what can go wrong is in the length and the header
        place = data.draw(st.integers(0, 1200) | st.integers(0, max(0, len(raw) - 1)))
        if kind == "flip" and place < len(raw):
            raw[place] = data.draw(st.integers(0, 255))
        elif kind == "cut":
            del raw[place : place + data.draw(st.integers(1, 64))]
        elif kind == "insert":
            raw[place:place] = data.draw(st.binary(min_size=1, max_size=16))
        else:
            raw[place : place + 4] = data.draw(
                st.sampled_from([b"null", b"[-1]", b"9e99", b'"":0', b"1e30", b"{}{}"])
            )
    folder = write_adapter(tmp_path_factory.mktemp("mutant"), bytes(raw))
    said = ""
    try:
        inspect_folder(folder)
    except WeightsRefused as error:
        said = error.reason
    assert said.isprintable()


HEADERS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=12), HEADERS, max_size=4), st.binary(max_size=64))
def test_no_header_does_anything_but_be_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, header: dict[str, Any], body: bytes
) -> None:
    raw = framed(json.dumps(header).encode(), body)
    folder = write_adapter(tmp_path_factory.mktemp("header"), raw)
    try:
        found = inspect_folder(folder)
    except WeightsRefused:
        return
    assert found.tensors == len(header.keys() - {"__metadata__"})


# --- memory -------------------------------------------------------------------------------

MEASURE = """
import resource, sys
from pathlib import Path
from monitor.probes.weights.errors import WeightsRefused
from monitor.probes.weights.inspection import inspect_folder
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    print(inspect_folder(Path(sys.argv[1])).state)
except WeightsRefused as error:
    print(error.reason)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def grown(folder: Path) -> tuple[str, int]:
    """What an inspection said, and how many MiB the process that made it grew by."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(folder)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    said, grew = done.stdout.strip().rsplit("\n", 1)
    return said, int(grew)


def test_a_header_of_110_megabytes_is_not_read(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path, b"")
    with (folder / FILE).open("wb") as file:
        file.write((110_000_000).to_bytes(8, "little") + b"{")
        file.truncate(120_000_000)
    said, grew = grown(folder)
    assert "its header has 110,000,000 bytes; at most" in said
    assert grew < 16


def test_a_header_full_of_nothing_costs_no_more_than_itself(tmp_path: Path) -> None:
    """Two million empty lists, which as objects would be 170 MB."""
    folder = write_adapter(tmp_path, framed(b'{"a":[' + b"[]," * 2_000_000 + b"[]]}"))
    said, grew = grown(folder)
    assert "not one of safetensors" in said
    assert grew < 40


def test_a_factor_of_256_megabytes_is_read_in_blocks(tmp_path: Path) -> None:
    """A hole in the file, so that it takes no disk: 2^24 rows of four float32 zeros."""
    rows = 2**24
    entries = {
        "m.q_proj.lora_A.weight": entry(0, 64, shape=[4, 4]),
        "m.q_proj.lora_B.weight": entry(64, 64 + rows * 16, shape=[rows, 4]),
    }
    folder = write_adapter(tmp_path, framed(header(**entries)), target_modules=["q_proj"])
    os.truncate(folder / FILE, 8 + len(header(**entries)) + 64 + rows * 16)
    said, grew = grown(folder)
    assert said == "broken"
    assert grew < 80


def test_a_header_may_be_as_large_as_the_largest_that_is_read(tmp_path: Path) -> None:
    padded = b'{"a": ' + json.dumps(entry()).encode() + b"}"
    raw = framed(padded + b" " * (LARGEST_HEADER - len(padded)), NUMBERS)
    found = inspect_folder(write_adapter(tmp_path, raw))
    assert found.reason.startswith("the file holds no LoRA tensors")


def test_a_sparse_file_of_64_gigabytes_is_refused_before_it_is_read(tmp_path: Path) -> None:
    rows = 2**32
    entries = {
        "m.q_proj.lora_A.weight": entry(0, 64, shape=[4, 4]),
        "m.q_proj.lora_B.weight": entry(64, 64 + rows * 16, shape=[rows, 4]),
    }
    folder = write_adapter(tmp_path, framed(header(**entries)), target_modules=["q_proj"])
    os.truncate(folder / FILE, 8 + len(header(**entries)) + 64 + rows * 16)
    caught = refused(folder)
    assert caught.refusal is Remedy.DAMAGED
    assert "has 68,719,4" in caught.reason
    assert "were ever written" in caught.reason

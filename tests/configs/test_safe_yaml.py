"""YAML that could hide, hang or run something is refused with a message that names the source and the line."""

import time

import pytest

from configs import get_cfg
from configs.safe_yaml import MAX_BYTES, MAX_DEPTH, parse_yaml

# Seconds that refusing may take: a hundred times what it takes, a fraction of what unguarded reading takes.
PATIENCE = 10


def billion_laughs(levels=40):
    lines = ["a0: &a0 [lol, lol]"]
    lines += [f"a{level}: &a{level} [*a{level - 1}, *a{level - 1}]" for level in range(1, levels)]
    return "\n".join(lines) + "\n"


UNSAFE = {
    "section twice": (
        "SOLVER:\n  SEED: 1\nTEST:\n  FLIP: no\nSOLVER:\n  MARGIN: 1\n",
        r"line 5 .*SOLVER appears twice",
    ),
    "key twice": ("SOLVER:\n  SEED: 1\n  MARGIN: 1\n  SEED: 2\n", r"line 4 .*SEED appears twice .*first in line 2"),
    "flow key twice": ("SOLVER: {SEED: 1, SEED: 2}\n", r"line 1 .*SEED appears twice"),
    "quoted key twice": ("OUTPUT_DIR: a\n'OUTPUT_DIR': b\n", r"line 2 .*OUTPUT_DIR appears twice"),
    "list in itself": ("OUTPUT_DIR: x\nINPUT: &a [*a]\n", r"line 2 .*alias"),
    "mapping in itself": ("MODEL: &a\n  VIT: *a\n", r"line 2 .*alias"),
    "mapping twice": ("MODEL: &a {NAME: x}\nTEST: *a\n", r"line 2 .*alias"),
    "alias as key": ("OUTPUT_DIR: &a x\n*a : y\n", r"line 2 .*alias"),
    "multiplying aliases": (billion_laughs(), r"line 2 .*alias"),
    "merge key": ("MODEL:\n  <<: {NAME: x}\n", r"line 2 .*a key must be a string, got <<"),
    "undefined alias": ("OUTPUT_DIR: *a\n", r"line 1 .*undefined alias"),
    "deep flow": ("MODEL: " + "[" * 10_000 + "]" * 10_000, rf"line 1 .*deeper than {MAX_DEPTH} levels"),
    "deep mapping": ("{a: " * 6_000 + "}" * 6_000, rf"line 1 .*deeper than {MAX_DEPTH} levels"),
    "deep block": ("\n".join(" " * i + "a:" for i in range(200)), rf"line {MAX_DEPTH} .*deeper than"),
    "deep dashes": ("a: \n" + "- " * 15_000 + "1", rf"line 2 .*deeper than {MAX_DEPTH} levels"),
    "python tag": ("OUTPUT_DIR: !!python/object/apply:os.system ['true']\n", r"line 1 .*tag .*python.* not allowed"),
    "any tag": ("OUTPUT_DIR: x\nTEST:\n  WEIGHT: !!binary aGk=\n", r"line 3 .*tag .*binary is not allowed"),
    "number as key": ("SOLVER:\n  5: 1\n", r"line 2 .*a key must be a string, got 5"),
    "boolean as key": ("yes: 1\n", r"line 1 .*a key must be a string, got yes"),
    "null as key": ("~: 1\n", r"line 1 .*a key must be a string"),
    "list as key": ("? [a, b]\n: 1\n", r"line 1 .*a key must be a string, got a list or a mapping"),
    "two documents": ("OUTPUT_DIR: a\n---\nOUTPUT_DIR: b\n", r"line 2 .*another document"),
    "broken syntax": ("MODEL: [1, 2", r"line 1 is not a valid config"),
    "tab": ("MODEL:\n\tNAME: x\n", r"line 2 .*cannot start any token"),
    "control character": ("OUTPUT_DIR: \x01\n", r"is not a valid config"),
    "long number": ("SOLVER:\n  SEED: " + "1" * 5000 + "\n", r"impossible value"),
    "no date": ("OUTPUT_DIR: 2026-99-99\n", r"impossible value"),
    "large": ("# " + "x" * MAX_BYTES, r"is larger than 32 KiB"),
    "endless list": ("a: [" + "a," * MAX_BYTES, r"is larger than 32 KiB"),
}


@pytest.mark.parametrize("name", UNSAFE)
def test_unsafe_yaml_is_refused_at_once(name, tmp_path):
    text, message = UNSAFE[name]
    path = tmp_path / "bad.yml"
    path.write_text(text, encoding="utf-8")
    start = time.perf_counter()
    with pytest.raises(ValueError, match=r"(?s)bad\.yml.*" + message):
        get_cfg(path)
    with pytest.raises(ValueError, match=r"(?s)config of the checkpoint.*" + message):
        get_cfg(config_text=text)
    assert time.perf_counter() - start < PATIENCE


def test_the_largest_file_is_read_in_time():
    items = MAX_BYTES // 2 - 10
    start = time.perf_counter()
    assert parse_yaml("a: [" + "1," * items + "]", "large.yml") == {"a": [1] * items}
    assert time.perf_counter() - start < 60


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("OUTPUT_DIR: a\n".encode("utf-16"), r"is not UTF-8 text: it looks like UTF-16"),
        ("OUTPUT_DIR: a\n".encode("utf-16-le"), r"is not UTF-8 text: it looks like UTF-16"),
        (b"OUTPUT_DIR: a\nTEST:\n  WEIGHT: caf\xe9\n", r"line 3 is not UTF-8 text"),
        (b"\x80\x81", r"line 1 is not UTF-8 text"),
    ],
)
def test_other_encodings_are_named(content, message, tmp_path):
    path = tmp_path / "bad.yml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"bad\.yml.*" + message):
        get_cfg(path)


def test_a_byte_order_mark_of_utf_8_is_accepted(tmp_path):
    path = tmp_path / "bom.yml"
    path.write_bytes("OUTPUT_DIR: café\n".encode("utf-8-sig"))
    assert get_cfg(path).OUTPUT_DIR == "café"


def test_a_dotted_and_a_nested_key_are_the_same_key(tmp_path):
    path = tmp_path / "bad.yml"
    path.write_text("SOLVER.SEED: 1\nSOLVER:\n  SEED: 2\n")
    with pytest.raises(ValueError, match=r"SOLVER\.SEED appears twice in .*bad\.yml"):
        get_cfg(path)


def test_the_aliases_of_a_dumped_config_are_read():
    # yacs writes an alias where two keys hold the same tuple, so configs of old runs hold some.
    text = get_cfg().dump()
    assert parse_yaml("INPUT:\n  SIZE_TEST: &a\n  - 1\n  - 2\n  SIZE_TRAIN: *a\n", "dump") == {
        "INPUT": {"SIZE_TEST": [1, 2], "SIZE_TRAIN": [1, 2]}
    }
    assert "*id001" in text
    assert get_cfg(config_text=text) == get_cfg()


@pytest.mark.parametrize("text", ["[" * 900, "- " * 450 + "1", "{[]: 1}", "(" * 50_000, "1" * 5000, "x" * 100_000])
def test_hostile_values_are_only_strings(text):
    cfg = get_cfg(None, ["OUTPUT_DIR", text[:4096]])
    assert text[:4096] == cfg.OUTPUT_DIR
    with pytest.raises(ValueError, match=r"SOLVER\.SEED \(command line\) must be of type int, got .{0,110}$"):
        get_cfg(None, ["SOLVER.SEED", text])

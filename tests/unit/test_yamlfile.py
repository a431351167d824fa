"""YAML as `kubectl` reads it, with lines."""

import pytest

from harness.errors import UserError
from harness.yamlfile import load_documents, load_file, scalar


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("yes", True),
        ("No", False),
        ("on", True),
        ("true", True),
        ("0755", 0o755),
        ("0o755", 0o755),
        ("0x1f", 31),
        ("-0x1f", -31),
        ("0b101", 5),
        ("1_000", 1000),
        ("0", 0),
        ("-7", -7),
        ("+7", 7),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("089", 89.0),  # not octal, so go-yaml tries a float
        ("12:30", "12:30"),
        ("2024-01-31", "2024-01-31"),
        ("1.2.3.4", "1.2.3.4"),
        ("fd00::1", "fd00::1"),
        ("::1", "::1"),
        ("-", "-"),
        ("nothing", "nothing"),
    ],
)
def test_a_plain_scalar_means_what_it_means_to_kubectl(text: str, value: object) -> None:
    assert scalar(text) == value
    assert type(scalar(text)) is type(value)


def test_quotes_and_tags_decide_over_the_look_of_a_scalar() -> None:
    text = "a: 'yes'\nb: \"0755\"\nc: !!str 5\nd: !!int '7'\ne: !!float 3\nf: |\n  no\n"
    value = load_documents(text)[0].value
    assert value == {"a": "yes", "b": "0755", "c": "5", "d": 7, "e": 3.0, "f": "no\n"}
    assert type(value["e"]) is float


def test_keys_are_strings_whatever_they_look_like() -> None:
    assert load_documents("on: 1\n5: 2\n")[0].value == {"on": 1, "5": 2}


TEXT = """\
# a comment
name: x
list:
  - one: 1
    two: {deep: [a, b,
                 c]}
  - plain
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ((), 2),
        (("name",), 2),
        (("list",), 3),
        (("list", 0), 4),
        (("list", 0, "two"), 5),
        (("list", 0, "two", "deep", 1), 5),
        (("list", 0, "two", "deep", 2), 6),
        (("list", 1), 7),
        (("list", 0, "missing", "deeper"), 4),
        (("missing",), 2),
    ],
)
def test_every_path_has_a_line(path: tuple[str | int, ...], line: int) -> None:
    assert load_documents(TEXT)[0].line_of(*path) == line


def test_documents_without_content_are_left_out() -> None:
    nodes = load_documents("---\n# nothing\n---\na: 1\n---\n---\nb: 2\n...\n")
    assert [(node.value, node.line) for node in nodes] == [({"a": 1}, 4), ({"b": 2}, 7)]


def test_an_alias_repeats_its_anchor_and_keeps_its_line() -> None:
    node = load_documents("base: &b {x: 1}\ncopy: *b\n")[0]
    assert node.value == {"base": {"x": 1}, "copy": {"x": 1}}
    assert node.line_of("copy") == 2
    assert node.line_of("copy", "x") == 1


def test_a_merge_fills_what_the_mapping_does_not_give() -> None:
    node = load_documents("one: &1 {x: 1, y: 1}\ntwo: &2 {y: 2, z: 2}\nall: {<<: [*1, *2], x: 0}\n")[0]
    assert node.value["all"] == {"x": 0, "y": 1, "z": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1, 2\nb: 3", "f.yaml:2: not valid YAML: while parsing a flow sequence, expected ',' or ']', but got ':'"),
        (
            "a:\n\t- b",
            "f.yaml:2: not valid YAML: while scanning for the next token, "
            "found character '\\t' that cannot start any token",
        ),
        ("a: b: c", "f.yaml:1: not valid YAML: mapping values are not allowed here"),
        (
            "a: 1\nb: \x01",
            "f.yaml:2: not valid YAML: unacceptable character #x0001: special characters are not allowed",
        ),
        ("a: 1\nb: 2\na: 3", 'f.yaml:3: key "a" is given twice (first on line 1)'),
        ("a: 1\nb: *nope", "f.yaml:2: alias *nope has no anchor &nope before it"),
        ("a: &a [*a]", "f.yaml:1: alias *a has no anchor &a before it"),
        ("? [a]\n: 1", "f.yaml:1: a key has to be a plain string"),
        ("a: !!int x", "f.yaml:1: 'x' cannot be a tag:yaml.org,2002:int"),
        ("a: !!timestamp 2024-01-31", "f.yaml:1: '2024-01-31' cannot be a tag:yaml.org,2002:timestamp"),
        ("a: {<<: 5}", "f.yaml:1: a merge (<<) takes a mapping or a list of mappings"),
    ],
)
def test_bad_yaml_is_one_sentence_with_file_and_line(text: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        load_documents(text, "f.yaml")
    assert str(error.value) == message


def test_a_file_that_cannot_be_read(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "latin").write_bytes(b"a: \xe4")
    for name, message in {
        "nowhere.yaml": "nowhere.yaml: cannot be read: No such file or directory",
        ".": ".: cannot be read: Is a directory",
        "latin": "latin: cannot be read: it is not UTF-8 text",
    }.items():
        with pytest.raises(UserError) as error:
            load_file(name)
        assert str(error.value) == message

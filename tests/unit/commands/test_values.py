import pytest

from contextkernel.commands.values import (
    parse_build_args,
    parse_environment,
    parse_filters,
    parse_labels,
    read_pairs,
)
from contextkernel.errors import InvalidInput, UsageProblem


def test_environment_words_win_over_files(tmp_path):
    file = tmp_path / "env"
    file.write_text("A=file\nB\nMISSING\n")
    got = parse_environment(["A=word", "HOME", "NONE", "EMPTY="], [str(file)], {"B": "2", "HOME": "/root"})
    assert got == ("A=file", "B=2", "A=word", "HOME=/root", "NONE", "EMPTY=")


@pytest.mark.parametrize("word", ["", "=x"])
def test_environment_needs_a_name(word):
    with pytest.raises(UsageProblem, match="invalid environment variable"):
        parse_environment([word], [], {})


def test_env_file_is_taken_literally(tmp_path):
    file = tmp_path / "env"
    file.write_bytes(b'\xef\xbb\xbfA=1\r\n# no\n\n  B= two words  \n\t#no\nC="q"\nD=$A\nE=a=b\nF=\n')
    assert read_pairs(str(file), {}) == ("A=1", "B= two words  ", 'C="q"', "D=$A", "E=a=b", "F=")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"=x\n", "line 1: no variable name"),
        (b"A=1\nB C=2\n", "line 2: variable 'B C' contains whitespace"),
        (b"A=1\n\xff=2\n", "line 2: not UTF-8"),
    ],
)
def test_env_file_problems_name_the_line(tmp_path, content, text):
    file = tmp_path / "env"
    file.write_bytes(content)
    with pytest.raises(InvalidInput, match=text):
        read_pairs(str(file), {})


def test_env_file_missing(tmp_path):
    with pytest.raises(InvalidInput, match="no such file"):
        read_pairs(str(tmp_path / "none"), {})


def test_labels_and_build_args(tmp_path):
    file = tmp_path / "labels"
    file.write_text("a=1\nb\n")
    assert parse_labels(["a=2", "c=x=y"], [str(file)]) == {"a": "2", "c": "x=y"}
    assert parse_build_args(["A=1", "B", "C="]) == {"A": "1", "B": None, "C": ""}
    with pytest.raises(UsageProblem):
        parse_labels(["=x"])
    with pytest.raises(UsageProblem):
        parse_build_args([""])


def test_filters():
    assert parse_filters(["a=1", "A = 2", "b="], ("a", "b")) == {"a": ("1", "2"), "b": ("",)}
    with pytest.raises(UsageProblem, match="invalid filter 'a'"):
        parse_filters(["a"], ("a",))
    with pytest.raises(UsageProblem) as caught:
        parse_filters(["statsu=x"], ("status", "name"))
    assert caught.value.hint == "did you mean status? filters: name, status"
    assert caught.value.exit_code == 1

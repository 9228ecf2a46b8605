"""Quotes and variables of one word."""

from __future__ import annotations

import pytest

from contextkernel.dockerfile import expand, expand_document, expand_words, process, unresolved
from contextkernel.dockerfile.glob import Glob
from contextkernel.errors import InvalidInput

ENV = {"A": "alpha", "EMPTY": "", "PATH": "/bin:/usr/bin", "FILE": "lib.tar.gz", "TWO": "one two", "STAR": "a*b*c"}


@pytest.mark.parametrize(
    ("word", "result"),
    [
        ("plain", "plain"),
        ("$A", "alpha"),
        ("${A}s$A/", "alphas" + "alpha/"),
        ("$NONE|${NONE}", "|"),
        ("$AB", ""),
        ("\\$A", "$A"),
        ("'$A'", "$A"),
        ('"$A b"', "alpha b"),
        ('"\\$A \\" \\n"', '$A " \\n'),
        ("a\\ b\\", "a b"),
        ("it\\'s", "it's"),
        ("$", "$"),
        ("a$.b", "a$.b"),
        ("$1$10x", "x"),
        ("${NONE:-d}${EMPTY:-d}${A:-d}", "ddalpha"),
        ("${NONE-d}${EMPTY-d}${A-d}", "dalpha"),
        ("${NONE:+s}${EMPTY:+s}${A:+s}", "s"),
        ("${NONE+s}${EMPTY+s}${A+s}", "ss"),
        ("${A:?gone}${EMPTY?gone}", "alpha"),
        ("${NONE:-${EMPTY:-$A}}", "alpha"),
        ("${NONE:-'a}b'}", "a}b"),
        ("${NONE:-a\\}b}", "a}b"),
        ("${FILE#*.}", "tar.gz"),
        ("${FILE##*.}", "gz"),
        ("${FILE%.*}", "lib.tar"),
        ("${FILE%%.*}", "lib"),
        ("${FILE#?i}", "b.tar.gz"),
        ("${FILE%nothing}", "lib.tar.gz"),
        ("${STAR#*\\*}", "b*c"),
        ("${PATH/bin/sbin}", "/sbin:/usr/bin"),
        ("${PATH//bin/sbin}", "/sbin:/usr/sbin"),
        ("${PATH//\\//_}", "_bin:_usr_bin"),
        ("${PATH/:*/}", "/bin"),
        ("${PATH//[/x}", "/bin:/usr/bin"),
        ("${NONE//a/b}", ""),
        ("${A/l/$EMPTY}", "apha"),
        ("${EMPTY//*/x}", "x"),
        ("${A//*/x}", "x"),
        ("${A///-}", "-a-l-p-h-a-"),
        ("<<EOF a", "<<EOF a"),
        ("a < b", "a < b"),
    ],
)
def test_expand(word: str, result: str) -> None:
    assert expand(word, ENV) == result


def test_backtick_escape_leaves_backslashes_alone() -> None:
    assert expand("C:\\x`$A\\$A", ENV, escape="`") == "C:\\x$A\\alpha"
    assert expand('"`" \\"', ENV, escape="`") == '" \\'


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("'open", "single quote"),
        ('"open', "double quote"),
        ("${", "'}' is missing"),
        ("${A", "'}' is missing"),
        ("${A:", "'}' is missing"),
        ("${A:-x", "'}' is missing"),
        ("${}", "bad substitution"),
        ("${:-x}", "bad substitution"),
        ("${A.b}", "unsupported modifier '.'"),
        ("${A:#x}", "unsupported modifier ':#'"),
        ("${A:=x}", "unsupported modifier ':='"),
        ("${A/x}", "'/' is missing"),
        ("${A/x/y", "'}' is missing"),
        ("${NONE:?must be set}", "NONE: must be set"),
        ("${EMPTY:?}", "EMPTY: is not allowed to be empty"),
        ("${NONE?}", "NONE: is not allowed to be unset"),
        ("${A#\\x}", "invalid pattern"),
    ],
)
def test_refused(word: str, reason: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        expand(word, ENV)
    assert reason in caught.value.problem


def test_words_are_split_after_expansion_unless_quoted() -> None:
    assert expand_words("80 $TWO", ENV) == ("80", "one", "two")
    assert expand_words('"$TWO" a\\ b', ENV) == ("one two", "a b")
    assert expand_words("$EMPTY", ENV) == ()
    assert expand_words("x${NONE:-y}z", ENV) == ("xyz",)


def test_documents_keep_their_quotes() -> None:
    assert expand_document('it\'s "$A" \\$A\n', ENV) == 'it\'s "alpha" $A\n'


def test_used_names_are_told() -> None:
    found = process("$A ${NONE:-$MORE} '$QUOTED'", ENV)
    assert found.matched == {"A"}
    assert found.unmatched == {"NONE", "MORE"}
    assert unresolved("$A ${NONE:?stop} ${MORE}", {"A": ""}) == ("MORE", "NONE")
    assert unresolved("$A$B") == ("A", "B")


def test_unset_variables_and_quotes_can_stay() -> None:
    text = "\"$A\" $NONE ${NONE} ${NONE:-x} ${NONE#y} ${NONE/a/b} 'q'"
    kept = process(text, ENV, keep_unset=True, keep_quotes=True).text
    assert kept == "\"alpha\" $NONE ${NONE} ${NONE:-x} ${NONE#y} ${NONE/a/b} 'q'"


def test_nesting_has_a_limit_and_no_traceback() -> None:
    with pytest.raises(InvalidInput, match="nested too deep"):
        expand("${A:-" * 5000 + "}" * 5000, {})


def test_patterns_do_not_explode() -> None:
    # a backtracking matcher would not come back from these before the suite's time limit
    assert Glob.parse("*a" * 40 + "b").trim_start("a" * 20000, longest=True) == "a" * 20000
    assert Glob.parse("a*" * 40 + "?b").replace("a" * 20000, "", everywhere=True) == "a" * 20000


def test_pattern_pieces() -> None:
    glob = Glob.parse("a*b")
    assert glob.trim_start("a1b2b3", longest=False) == "2b3"
    assert glob.trim_start("a1b2b3", longest=True) == "3"
    assert glob.trim_end("xa1ab", longest=False) == "xa1"
    assert glob.trim_end("xa1ab", longest=True) == "x"
    assert glob.replace("-a1b2b-", "X", everywhere=False) == "-X-"

"""Long text is split where a speaker would pause, into few parts of similar length."""

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from steplens.speech.engines.splitting import split_text


def limit(n):
    return lambda part: len(part) <= n


def no_spaces(text):
    return regex.sub(r"\s", "", text)


def fewest(pieces, n):
    """How many parts filling up one after the other gives."""
    count, held = 1, 0
    for piece in pieces:
        longer = held + bool(held) + len(piece)
        count, held = (count, longer) if longer <= n else (count + 1, len(piece))
    return count


anything = st.text(alphabet="aé 。，．.,!?!“”«» \n銀行क्षि3", min_size=1, max_size=60)
words = st.lists(st.text("abc", min_size=1, max_size=8), min_size=1, max_size=30)


@given(anything, st.integers(4, 20))
def test_every_part_fits_and_no_character_is_lost(text, n):
    """Whatever the text; the order stays."""
    parts = split_text(text, limit(n))
    assert all(len(part) <= n for part in parts)
    assert no_spaces("".join(parts)) == no_spaces(text)
    assert all(part == part.strip() for part in parts)
    assert all(parts) or not text.strip()


@given(words, st.integers(8, 40))
def test_words_are_split_into_as_few_parts_as_can_be(found, n):
    parts = split_text(" ".join(found), limit(n))
    assert " ".join(parts) == " ".join(found)
    assert len(parts) == fewest(found, n)


@given(words, st.integers(9, 40), st.sampled_from([".", ",", "?", ";"]))
def test_clauses_that_fit_are_kept_whole_in_as_few_parts_as_can_be(found, n, mark):
    clauses = [f"{word}{mark}" for word in found]
    parts = split_text(" ".join(clauses), limit(n))
    assert all(part.endswith(mark) for part in parts)
    assert len(parts) == fewest(clauses, n)


@given(st.integers(2, 60), st.integers(10, 50))
def test_parts_are_of_similar_length(n_words, n):
    """Of equal words, one part holds at most one more than another."""
    parts = split_text(" ".join(["wort"] * n_words), limit(n))
    counts = [len(part.split()) for part in parts]
    assert max(counts) - min(counts) <= 1


def test_text_that_fits_is_not_split():
    assert split_text("  Eins. Zwei. ", limit(11)) == ["Eins. Zwei."]


@pytest.mark.parametrize(
    ("text", "n", "parts"),
    [
        # German: sentences first, then clauses, then words.
        ("Es regnet. Er geht, weil er muss.", 24, ["Es regnet.", "Er geht, weil er muss."]),
        ("Er geht nach Hause, weil er muss.", 24, ["Er geht nach Hause,", "weil er muss."]),
        ("Ja. Das ist gut, sehr gut.", 17, ["Ja. Das ist gut,", "sehr gut."]),
        ("Er geht jetzt nach Hause", 14, ["Er geht jetzt", "nach Hause"]),
        ("Er kam – sie ging – heim", 18, ["Er kam –", "sie ging – heim"]),
        # Chinese and Japanese: no spaces.
        ("今天下雨。老师在学校，学生在家。", 10, ["今天下雨。", "老师在学校，", "学生在家。"]),
        ("你好吗？！我很好……", 7, ["你好吗？！", "我很好……"]),
        ("今朝、先生は学校で話をした。はい。", 14, ["今朝、先生は学校で話をした。", "はい。"]),
        # Hindi (danda), Arabic, Urdu.
        ("यह अच्छा है। वह जाता है।", 13, ["यह अच्छा है।", "वह जाता है।"]),
        ("هل أنت بخير؟ نعم، أنا بخير", 16, ["هل أنت بخير؟", "نعم، أنا بخير"]),
        ("ذهب الولد، وعادت البنت", 14, ["ذهب الولد،", "وعادت البنت"]),
        ("وہ گیا۔ میں آیا۔", 10, ["وہ گیا۔", "میں آیا۔"]),
    ],
)
def test_a_speaker_would_pause_there(text, n, parts):
    assert split_text(text, limit(n)) == parts


@pytest.mark.parametrize(
    ("text", "n", "parts"),
    [
        ("Pi ist 3.5 mal 2, rund", 18, ["Pi ist 3.5 mal 2,", "rund"]),
        ("It costs 1,000 dollars a day", 19, ["It costs 1,000", "dollars a day"]),
        ("Um 12:30 geht er", 10, ["Um 12:30", "geht er"]),
        ("Version 3.11 ist da", 15, ["Version", "3.11 ist da"]),
    ],
)
def test_marks_within_numbers_are_no_boundaries(text, n, parts):
    assert split_text(text, limit(n)) == parts


@pytest.mark.parametrize(
    ("text", "n", "parts"),
    [
        ("„Das ist gut.“ Er geht heim.", 15, ["„Das ist gut.“", "Er geht heim."]),
        ("»Gut so.« Dann ging er.", 14, ["»Gut so.«", "Dann ging er."]),
        ("“It is so.” He went home.", 15, ["“It is so.”", "He went home."]),
        ('"So." (Er ging.) Und kam.', 16, ['"So." (Er ging.)', "Und kam."]),
        ("« Bonjour. » Il part.", 13, ["« Bonjour. »", "Il part."]),
        ("他说：「好。」然后走了。", 9, ["他说：「好。」", "然后走了。"]),
        ("他问：“真的吗？！”我说：“是。”", 10, ["他问：“真的吗？！”", "我说：“是。”"]),
        ("（今天下雨。）老师在家。", 8, ["（今天下雨。）", "老师在家。"]),
    ],
)
def test_a_closing_quote_or_bracket_stays_with_its_sentence(text, n, parts):
    assert split_text(text, limit(n)) == parts


def test_one_overlong_word_is_cut_into_equal_pieces_and_no_other_word():
    parts = split_text("Das Rindfleischetikettierungsüberwachungsgesetz gilt.", limit(20))
    assert no_spaces("".join(parts)) == "DasRindfleischetikettierungsüberwachungsgesetzgilt."
    assert len(parts) == 3
    assert parts[0].startswith("Das ")
    assert parts[-1].endswith(" gilt.")


def test_a_character_is_not_torn_from_its_marks():
    """A consonant keeps its vowel sign, a letter its accent."""
    for part in split_text("कीकूकेकैकोकौ", limit(5)):
        assert not regex.match(r"\p{M}", part)


def test_what_fits_may_be_anything_that_is_true_of_shorter_text():
    """Tokens, say: here three characters a word, and one more."""
    parts = split_text(" ".join("abcdefgh"), lambda part: 4 * len(part.split()) < 13)
    assert parts == ["a b", "c d e", "f g h"]


def test_text_of_which_not_one_character_fits_is_refused():
    with pytest.raises(ValueError, match="expected text that can be spoken part by part, got 'ab'"):
        split_text("ab", limit(0))


def test_the_example_holds():
    import doctest

    from steplens.speech.engines import splitting

    assert doctest.testmod(splitting).failed == 0

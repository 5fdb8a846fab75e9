"""The table of resource levels: what is shipped, and what is no such table."""

import pytest

from steplens.languages.resource_levels import load_levels
from steplens.languages.table import load_languages


def test_levels_are_the_six_classes_of_known_languages():
    levels = load_levels()
    assert set(levels) <= set(load_languages())
    assert set(levels.values()) <= set("012345")
    # The examples that the paper itself gives of its classes (Joshi et al. 2020, table 1).
    examples = {
        "2": ["zul", "lao", "mlt", "gle"],
        "3": ["ind", "ukr", "ceb", "afr", "heb"],
        "4": ["rus", "hun", "vie", "nld", "kor"],
        "5": ["eng", "spa", "deu", "jpn", "fra"],
    }
    for level, codes in examples.items():
        assert {levels[code] for code in codes} == {level}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("code\tlevel\ndeu\thigh\n", "columns: expected code, level, source, got code, level"),
        ("code\tlevel\tsource\ndeu\thigh\tx\ndeu\tlow\tx\n", ":3: .* each language once, got 'deu'"),
        ("code\tlevel\tsource\ndeu\thigh\t \n", ":2: expected a language, its level and the source"),
        ("code\tlevel\tsource\ndeu\thigh\n", ":2: expected 3 fields separated by tabs, got 2"),
        ("", "columns: expected code, level, source, got $"),
    ],
)  # fmt: skip
def test_a_bad_table_is_an_error(tmp_path, text, message):
    path = tmp_path / "resource_levels.tsv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_levels(path)

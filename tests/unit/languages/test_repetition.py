"""The longest immediate repetition, against a search of all stretches."""

import numpy as np
import pytest

from steplens.languages.repetition import longest_repeat


def slow_longest_repeat(tokens, longest_unit=8):
    """The longest stretch that is its first ``unit`` tokens again and again, at least twice."""
    longest = 0
    for start in range(len(tokens)):
        for stop in range(start + 2, len(tokens) + 1):
            stretch = tokens[start:stop]
            for unit in range(1, min(longest_unit, len(stretch) // 2) + 1):
                if stretch == (stretch[:unit] * len(stretch))[: len(stretch)]:
                    longest = max(longest, len(stretch))
    return longest


@pytest.mark.parametrize("n_symbols", [1, 2, 3, 6])
def test_equals_a_search_of_all_stretches(n_symbols):
    generator = np.random.default_rng(n_symbols)
    for length in range(24):
        tokens = generator.integers(0, n_symbols, length).tolist()
        assert longest_repeat(tokens) == slow_longest_repeat(tokens), tokens


@pytest.mark.parametrize(
    ("tokens", "length"),
    [
        ("", 0),
        ("a", 0),
        ("abcdef", 0),
        ("abcabd", 0),
        ("aa", 2),
        ("ababab", 6),
        ("xabababy", 6),
        ("ababa", 5),  # the third time is cut off
        ("abcdefghabcdefgh", 16),
        ("abcdefghiabcdefghi", 0),  # a unit of nine is longer than what counts
    ],
)
def test_known_repetitions(tokens, length):
    assert longest_repeat(list(tokens)) == length


def test_a_longer_unit_counts_where_it_is_allowed():
    assert longest_repeat(list("abcdefghi" * 2), longest_unit=9) == 18

"""Immediate repetition, the mark of a collapsed output."""


def longest_repeat(tokens: list[int], longest_unit: int = 8) -> int:
    """Tokens in the longest immediate repetition of a unit of 1 to 8 tokens; 0 without any.

    ``a b a b a b`` has the unit ``a b`` three times: 6 tokens. The mark of a collapsed output.
    """
    longest = 0
    for unit in range(1, min(longest_unit, len(tokens) // 2) + 1):
        same = 0  # positions in a row that equal the one a unit earlier
        for i in range(unit, len(tokens)):
            same = same + 1 if tokens[i] == tokens[i - unit] else 0
            if same >= unit:
                longest = max(longest, same + unit)
    return longest

"""Which neurons are chosen: what orders equal AP, within what, and how much a tie decides."""

import itertools

import numpy as np
import pandas as pd
import pytest

from steplens.ranking.selection import (
    Scores,
    best_of_cells,
    bottom_k,
    cells_of,
    count_ties,
    shares,
    tiebreak,
    top_k,
)
from steplens.ranking.table import Ranking
from steplens.settings import Selection


def slow_top_k(ap, k, order, cells):
    """By Python's sort, group by group."""
    ranked = sorted(range(len(ap)), key=lambda j: (-ap[j], -order[j], j))
    quota = slow_shares(cells, k)
    taken = []
    for j in ranked:
        if quota[cells[j]]:
            quota[cells[j]] -= 1
            taken.append(j)
    return taken


def slow_shares(cells, k):
    """Largest remainders, place by place."""
    sizes = [list(cells).count(cell) for cell in range(max(cells) + 1)]
    exact = [k * size / len(cells) for size in sizes]
    found = [int(one + 1e-12) for one in exact]
    while sum(found) < k:
        rest = [one - n for one, n in zip(exact, found, strict=True)]
        found[max(range(len(rest)), key=lambda cell: (round(rest[cell], 9), -cell))] += 1
    return found


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("several", [False, True])
def test_the_best_are_those_of_a_plain_sort(seed, several):
    """With many equal AP, equal tie-breaks among them, and groups that are no runs of columns."""
    generator = np.random.default_rng(seed)
    ap = generator.integers(0, 4, (3, 60)) / 4
    order = generator.choice([-np.inf, 0.0, 1.5, 2.5, np.inf], (3, 60))
    cells = generator.permutation(np.repeat(np.arange(4), [5, 11, 20, 24]))
    if not several:
        cells = np.zeros(60, dtype=int)
    for k in (1, 7, 33, 60):
        given = cells if several else None
        found = top_k(ap, k, order, given)
        lowest = bottom_k(ap, k, order, given)
        for row in range(3):
            assert found[row].tolist() == slow_top_k(ap[row], k, order[row], cells)
            assert lowest[row].tolist() == slow_top_k(-ap[row], k, -order[row], cells)


def test_equal_ap_is_ordered_by_column_where_it_is_all_that_is_given():
    ap = np.array([[0.5, 1, 1, 0.5, 1]])
    assert top_k(ap, 4).tolist() == [[1, 2, 4, 0]]
    assert bottom_k(ap, 3).tolist() == [[0, 3, 1]]


def test_a_shared_out_k_keeps_to_the_width_of_each_group():
    cells = np.repeat(np.arange(3), [10, 20, 30])
    assert shares(cells, 6).tolist() == [1, 2, 3]
    assert shares(cells, 7).tolist() == slow_shares(cells, 7)
    for k in range(1, 61):
        found = shares(cells, k)
        assert found.sum() == k
        assert (found <= [10, 20, 30]).all()


@pytest.mark.parametrize(
    ("k", "lowest", "expected"),
    [
        (1, False, (1, 3)),  # one of the three that are perfect
        (3, False, (0, 0)),  # all three: nothing to decide
        (4, False, (1, 2)),
        (5, False, (0, 0)),
        (2, True, (0, 0)),
        (1, True, (0, 0)),
    ],
)
def test_a_tie_decides_only_where_not_all_that_are_equal_have_a_place(k, lowest, expected):
    ap = np.array([1, 0.9, 1, 0.2, 1, 0.9, 0.1])
    assert tuple(int(one) for one in count_ties(ap, k, lowest)) == expected


def test_ties_within_groups_are_added_up():
    ap = np.array([[1, 1, 1, 0.5, 1, 1, 0.2, 0.1]])
    cells = np.repeat([0, 1], 4)
    decided, tied = count_ties(ap, 2, cells=cells)  # one place in each: of three, and of two
    assert (decided.tolist(), tied.tolist()) == ([2], [5])


@pytest.mark.parametrize("seed", range(3))
def test_how_many_a_tie_decided_is_what_other_orders_may_change(seed):
    """Over all orders of the equal ones, so many neurons are in some sets and not in all."""
    generator = np.random.default_rng(seed)
    ap = generator.integers(0, 3, 6) / 3
    for k in range(1, 7):
        sets = [
            {*top_k(ap, k, np.array(order)).tolist()} for order in itertools.permutations(range(6))
        ]
        decided, tied = count_ties(ap, k)
        always, ever = set.intersection(*sets), set.union(*sets)
        assert (decided, tied) == (k - len(always), len(ever) - len(always))


NEURONS = pd.DataFrame(
    {
        "layer": np.repeat([0, 1], 6),
        "submodule": pd.Categorical(["a", "a", "b", "b", "b", "b"] * 2),
        "unit": [0, 1, 0, 1, 2, 3] * 2,
        "step_invariant": False,
    }
)


def ranking(**condition):
    generator = np.random.default_rng(1)
    ap = np.ones((2, 12))
    return Ranking(
        ["deu", "jpn"], ap, ap.astype("f4"), np.array([5, 5]), NEURONS, {}, {},
        generator.normal(size=(2, 12)), condition,
    )  # fmt: skip


def test_a_ranking_chooses_by_separation_by_column_or_by_lot():
    one = ranking(module="decoder", task="asr", step=1)
    by_separation = one.scores(Selection()).top(4)
    assert by_separation.tolist() == np.argsort(-one.separation)[:, :4].tolist()
    assert one.scores(Selection("column")).top(4).tolist() == [[0, 1, 2, 3]] * 2
    lots = [one.scores(Selection("random", seed=seed)).top(4).tolist() for seed in (1, 1, 2)]
    assert lots[0] == lots[1] != lots[2]
    assert lots[0][0] != lots[0][1]  # each language has an order of its own
    other = ranking(module="decoder", task="tr", step=1)
    assert other.scores(Selection("random", seed=1)).top(4).tolist() != lots[0]


def test_a_ranking_shares_k_out_among_pairs_of_layer_and_submodule():
    one = ranking(module="decoder", task="asr", step=1)
    selection = Selection(scope="submodule")
    assert cells_of(selection, NEURONS).tolist() == [0, 0, 1, 1, 1, 1, 2, 2, 3, 3, 3, 3]
    for columns in one.scores(selection).top(6):
        counts = NEURONS.iloc[columns].groupby(["layer", "submodule"], observed=True).size()
        assert counts.tolist() == [1, 2, 1, 2]
    decided, tied = one.scores(selection).count_ties(6)
    assert (decided.tolist(), tied.tolist()) == ([6, 6], [12, 12])


def test_scores_of_one_language_are_its_row():
    order = np.arange(12.0).reshape(2, 6)
    both = Scores(np.ones((2, 6)), order)
    assert both.row(1).top(3).tolist() == both.top(3)[1].tolist() == [5, 4, 3]
    assert Scores(np.ones((2, 6))).row(0).bottom(2).tolist() == [0, 1]


def test_what_is_not_there_yet_leaves_its_places_free():
    found = best_of_cells(np.array([0.5, 0.9, 0.5]), None, np.array([0, 1, 0]), np.array([1, 2, 3]))
    assert found.tolist() == [1, 0]


def test_lots_need_no_separation():
    assert tiebreak(Selection("column"), np.zeros((1, 3)), ["deu"]) is None
    with pytest.raises(ValueError, match="k: expected 1 to 3"):
        shares(np.zeros(3, dtype=int), 4)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int8, np.uint64])
def test_whole_numbers_are_ordered_as_numbers(dtype):
    """The sign of unsigned integers cannot be turned round."""
    ap = np.array([0, 3, 5, 1]).astype(dtype)
    expected = np.lexsort((np.arange(4), -ap.astype(float)))[:2].tolist()
    assert top_k(ap, 2).tolist() == expected
    tied = top_k(np.ones(4), 2, np.array([0, 3, 5, 1]).astype(dtype)).tolist()
    assert tied == expected


def test_arguments_of_another_kind_are_refused_by_name():
    with pytest.raises(ValueError, match=r"k: expected a whole number, got 2.0"):
        top_k(np.ones(4), 2.0)
    for choose in (top_k, count_ties):
        with pytest.raises(ValueError, match=r"cells: expected \(4,\), one per neuron, got \(3,\)"):
            choose(np.ones(4), 2, cells=np.zeros(3, dtype=int))

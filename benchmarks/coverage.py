"""What do bootstrap intervals of the diagonal ratio and of the Spearman concentration cover?

    python -m benchmarks.coverage                             # tables in results/bench
    python -m benchmarks.coverage --write docs/methods/intervals.md   # and the tables of the page

Parallel corpora are made up whose true ratio is known, at several numbers of sentences and strengths of
the language neurons. Every interval is held against two targets: the mean of the estimator at this number
of sentences, and the true value, which infinitely many sentences would give. One core; not part of
``make bench``.
"""

import argparse
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri
from threadpoolctl import threadpool_limits

from steplens.comparison.measures import (
    diagonal_concentration,
    diagonal_ratio,
    overlap_matrix,
    spearman_matrix,
)
from steplens.ranking.resampled import resampled_average_precision
from steplens.ranking.scores.ap import average_precision, use_threads
from steplens.statistics.bootstrap import SentenceDraws, draw_counts, percentile_interval

MODALITIES = ("speech", "text")
STATISTICS = ("ratio", "concentration")
# By name: how far the language neurons stand out, in standard deviations of the activations.
STRENGTHS = {"strong": 0.8, "middle": 0.3, "weak": 0.12}
SIZES = (20, 60, 240, 1000)  # sentences
WORDING = 0.1  # share of a neuron's variance that is the sentence's in its language
TARGETS = ("mean", "true")
MARKS = ("<!-- tables -->", "<!-- end of tables -->")


# --- a population whose language neurons are known ---------------------------------------------------


@dataclass(frozen=True)
class Population:
    """A planted model: the activation of a neuron is the sum of

    - the mean of its language: language neurons stand out, from hardly to much,
    - a content effect of the sentence, the same in every language and alike in speech and text,
    - an effect of the sentence in its language, alike in speech and text,
    - noise of the utterance.

    Effects reach the neurons through a few common factors, so that neurons are correlated. Within a
    language every neuron has variance 1.
    """

    means: np.ndarray  # (2, n_languages, n_neurons): of speech and of text
    content: np.ndarray  # (2, n_factors, n_neurons): what the factors of a sentence do to a neuron
    wording: (
        np.ndarray
    )  # (2, n_factors, n_neurons): the same for those of a sentence in its language
    noise: float  # standard deviation
    k: int  # language neurons of a language in a modality, and the k of the comparison

    @property
    def n_languages(self) -> int:
        return self.means.shape[1]

    def labels(self, n: int) -> np.ndarray:
        """Language of every utterance of n sentences, (n_languages × n,): one language after the other."""
        return np.repeat(np.arange(self.n_languages), n)

    def draw(self, n: int, generator: np.random.Generator) -> np.ndarray:
        """Activations of n new sentences in all languages: (2, n_languages × n, n_neurons) float16."""
        _, n_factors, n_neurons = self.content.shape
        size = (self.n_languages, n)
        of_sentence = generator.standard_normal((n, n_factors), dtype=np.float32)
        of_wording = generator.standard_normal((*size, n_factors), dtype=np.float32)
        drawn = np.empty((2, *size, n_neurons), dtype=np.float16)
        for place in range(len(MODALITIES)):
            values = generator.standard_normal((*size, n_neurons), dtype=np.float32)
            values *= np.float32(self.noise)
            values += of_sentence @ self.content[place]
            values += of_wording @ self.wording[place]
            values += self.means[place, :, None, :]
            drawn[place] = values
        return drawn.reshape(2, -1, n_neurons)

    def ap(self) -> np.ndarray:
        """AP of infinitely many sentences, (2, n_languages, n_neurons).

        Activations of a language are normal with variance 1, so that AP is the mean, over those of the
        language, of the share of the language among all that lie higher.
        """
        z = np.linspace(-6, 6, 241)
        density = np.exp(-(z**2) / 2)
        density /= density.sum()
        ap = np.empty(self.means.shape)
        for place, language in np.ndindex(*ap.shape[:2]):
            means = self.means[place].astype(np.float64)
            at = means[language] + z[:, None]  # (points, n_neurons)
            higher = [ndtr(one - at) for one in means]
            ap[place, language] = density @ (higher[language] / np.sum(higher, axis=0))
        return ap

    def truth(self) -> dict[str, float]:
        """The statistics of infinitely many sentences."""
        return statistics(*self.ap(), self.k)


def planted_population(
    strength: float,
    seed: int,
    n_neurons: int = 1000,
    n_languages: int = 5,
    k: int = 64,
    shared: float = 0.5,
    crossed: float = 0.25,
    small: float = 0.25,
    content: float = 0.5,
    wording: float = WORDING,
    alike: float = 0.9,
    n_factors: int = 16,
) -> Population:
    """A population with k language neurons in every language and modality.

    Parameters
    ----------
    strength : float
        By how many standard deviations a language neuron lies higher for its language, on average: 0.3
        times that and an exponential part on top, the same in speech and text. It scales all language
        effects, so that the order of the neurons, and with it the true ratio, hardly depends on it.
    seed : int
        The same neurons for every strength.
    n_neurons, n_languages, k : int
    shared, crossed : float
        Share of a language's text neurons that are its speech neurons, and speech neurons of the other
        languages, in equal parts. The rest belong to text alone.
    small : float
        Standard deviation of the effects that every language has on every neuron, as a share of
        ``strength``; speech and text correlate by 0.5.
    content, wording : float
        Shares of a neuron's variance that are the sentence's, and the sentence's in its language. What
        is left is noise of the utterance.
    alike : float
        Correlation of content and of wording effects between speech and text.
    n_factors : int
    """
    generator = np.random.default_rng([seed, 0])
    n_shared, n_crossed = round(shared * k), round(crossed * k / (n_languages - 1))
    n_own = k - n_shared - n_crossed * (n_languages - 1)
    neurons = generator.permutation(n_neurons)
    if n_own < 0:
        raise ValueError(
            f"shared, crossed: expected shares of at most 1 in all, got {shared:g} and {crossed:g}"
        )
    if n_neurons < n_languages * (k + n_own):
        raise ValueError(
            f"n_neurons: expected at least {n_languages * (k + n_own)} for {k} language neurons in "
            f"each of {n_languages} languages, got {n_neurons}"
        )
    speech = neurons[: n_languages * k].reshape(n_languages, k)
    size = 0.3 + generator.exponential(0.7, n_neurons)
    *own, common = generator.standard_normal((3, n_languages, n_neurons))
    means = small * np.sqrt(0.5) * (np.stack(own) + common)
    free = neurons[n_languages * k :]
    for language in range(n_languages):
        others = [other for other in range(n_languages) if other != language]
        text = [speech[language, :n_shared], free[language * n_own : (language + 1) * n_own]]
        for other in others:  # a part of its own of each: nobody's text neurons twice
            begin = n_shared + ((language - other) % n_languages - 1) * n_crossed
            text.append(speech[other, begin : begin + n_crossed])
        for place, columns in enumerate((speech[language], np.concatenate(text))):
            means[place, language, columns] += size[columns]
    return Population(
        means=(strength * means).astype(np.float32),
        content=_loadings(generator, content, alike, n_factors, n_neurons),
        wording=_loadings(generator, wording, alike, n_factors, n_neurons),
        noise=float(np.sqrt(1 - content - wording)),
        k=k,
    )


def _loadings(generator, variance: float, alike: float, n_factors: int, n_neurons: int):
    """(2, n_factors, n_neurons) float32: every neuron gets the variance, speech and text correlated."""
    speech, other = generator.standard_normal((2, n_factors, n_neurons))
    speech /= np.linalg.norm(speech, axis=0)
    other -= speech * (speech * other).sum(0)
    other /= np.linalg.norm(other, axis=0)
    text = alike * speech + np.sqrt(1 - alike**2) * other
    return np.sqrt(variance) * np.stack([speech, text]).astype(np.float32)


# --- estimates and their draws ------------------------------------------------------------------------


def statistics(ap_speech: np.ndarray, ap_text: np.ndarray, k: int) -> dict[str, float]:
    """Diagonal ratio and Spearman concentration of AP, (n_languages, n_neurons) each."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # negative correlations between languages
        concentration = diagonal_concentration(spearman_matrix(ap_speech, ap_text))
    ratio = diagonal_ratio(overlap_matrix(ap_speech, ap_text, k))
    return {"ratio": ratio, "concentration": concentration}


def estimate(population: Population, activations: np.ndarray) -> dict[str, float]:
    """The statistics of one data set, as ``Population.draw`` gives it."""
    n_languages = population.n_languages
    labels = population.labels(activations.shape[1] // n_languages)
    ap = [average_precision(one, labels, n_languages) for one in activations]
    return statistics(*ap, population.k)


def by_sentence(n: int, n_languages: int, n_resamples: int, seed: int) -> np.ndarray:
    """One draw of sentence ids for all languages: (n_resamples, n_languages × n)."""
    sentences = np.arange(n)
    return SentenceDraws(sentences, n_resamples, seed).of(np.tile(sentences, n_languages))


def by_language(n: int, n_languages: int, n_resamples: int, seed: int) -> np.ndarray:
    """Sentences of each language drawn apart: (n_resamples, n_languages × n)."""
    return np.concatenate(
        [draw_counts(n, n_resamples, seed, str(one)) for one in range(n_languages)], axis=1
    )


WAYS: dict[str, Callable[..., np.ndarray]] = {
    "by sentence": by_sentence,
    "by language": by_language,
}


def resampled(
    population: Population, activations: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Bootstrap draws of the statistics: name to (n_resamples,)."""
    n_languages = population.n_languages
    labels = population.labels(activations.shape[1] // n_languages)
    ap = [resampled_average_precision(one, labels, weights, n_languages) for one in activations]
    draws = [statistics(*pair, population.k) for pair in zip(*ap, strict=True)]
    return {name: np.array([draw[name] for draw in draws]) for name in STATISTICS}


# --- intervals ----------------------------------------------------------------------------------------


def percentile(draws: np.ndarray, estimate: float) -> tuple[float, float]:
    """2.5th and 97.5th percentile of the draws."""
    return percentile_interval(draws)


def centred(draws: np.ndarray, estimate: float) -> tuple[float, float]:
    """The percentile interval, moved by estimate - mean of the draws."""
    low, high = percentile_interval(draws)
    shift = estimate - draws.mean()
    return low + shift, high + shift


def basic(draws: np.ndarray, estimate: float) -> tuple[float, float]:
    """The percentile interval, reflected at the estimate (Davison and Hinkley 1997, 5.2)."""
    low, high = percentile_interval(draws)
    return 2 * estimate - high, 2 * estimate - low


def bias_corrected(draws: np.ndarray, estimate: float) -> tuple[float, float]:
    """Percentiles moved by how many draws lie below the estimate (Efron 1987, without acceleration)."""
    below = (np.sum(draws < estimate) + np.sum(draws == estimate) / 2) / len(draws)
    # Where no draw lies on one side, as if half a draw did.
    z = ndtri(np.clip(below, 0.5 / len(draws), 1 - 0.5 / len(draws)))
    low, high = np.quantile(draws, ndtr(2 * z + ndtri([0.025, 0.975])))
    return float(low), float(high)


INTERVALS: dict[str, Callable[[np.ndarray, float], tuple[float, float]]] = {
    "percentile": percentile,
    "centred": centred,
    "basic": basic,
    "bias-corrected": bias_corrected,
}


def coverage(intervals: np.ndarray, target: float) -> tuple[float, float]:
    """Share of the intervals, (n, 2), that hold the target, and its standard error.

    The error is taken at a share that two hits and two misses are added to, so that it is not 0 where
    all or none hit (Agresti and Coull 1998).
    """
    low, high = np.asarray(intervals).T
    hits = int(((low <= target) & (target <= high)).sum())
    moved = (hits + 2) / (len(low) + 4)
    return hits / len(low), float(np.sqrt(moved * (1 - moved) / (len(low) + 4)))


# --- the simulation -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """How much is simulated."""

    strengths: tuple[str, ...] = tuple(STRENGTHS)
    sizes: tuple[int, ...] = SIZES
    n_sets: int = 80  # data sets with intervals, at every strength and size
    n_by_language: int = 20  # of them also drawn by language
    n_mean: int = 150  # further data sets, for the estimator's mean
    n_resamples: int = 200
    n_neurons: int = 1000
    k: int = 64
    seed: int = 0


def simulate(plan: Plan) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Both tables, part by part: coverage and estimates of one strength and size."""
    for place, strength in enumerate(STRENGTHS):
        if strength not in plan.strengths:
            continue
        population = planted_population(
            STRENGTHS[strength], plan.seed, n_neurons=plan.n_neurons, k=plan.k
        )
        for n in plan.sizes:
            yield _simulate(plan, population, strength, n, [plan.seed, 1 + place, n])


def _simulate(plan: Plan, population: Population, strength: str, n: int, stream: list[int]):
    truth = population.truth()
    apart = pd.DataFrame(
        estimate(population, population.draw(n, np.random.default_rng([*stream, 1, number])))
        for number in range(plan.n_mean)
    )
    rows = []
    for number in range(plan.n_sets):
        activations = population.draw(n, np.random.default_rng([*stream, 0, number]))
        value = estimate(population, activations)
        for way in list(WAYS) if number < plan.n_by_language else list(WAYS)[:1]:
            weights = WAYS[way](n, population.n_languages, plan.n_resamples, number)
            for name, draws in resampled(population, activations, weights).items():
                rows.append(
                    {"statistic": name, "draws": way, "value": value[name], "mean": draws.mean()}
                    | {one: of(draws, value[name]) for one, of in INTERVALS.items()}
                )
    return _tables(pd.DataFrame(rows), apart, truth, {"strength": strength, "n": n})


def _tables(rows: pd.DataFrame, apart: pd.DataFrame, truth: dict[str, float], where: dict):
    """Coverage and estimates from the intervals of every data set and from the data sets set apart."""
    covered, estimates = [], []
    for name in STATISTICS:
        own = rows[rows["statistic"] == name]
        targets = {"mean": apart[name].mean(), "true": truth[name]}
        low, high = np.percentile(apart[name], [2.5, 97.5])
        of_estimates = where | {
            "statistic": name,
            "true": truth[name],
            "mean": targets["mean"],
            "mean_error": apart[name].std() / np.sqrt(len(apart)),
            "bias": targets["mean"] - truth[name],
            "spread": high - low,
        }
        for way, drawn in own.groupby("draws", sort=False):
            shift = drawn["mean"] - drawn["value"]
            inside = np.array(drawn["percentile"].tolist())
            outside = (drawn["value"] < inside[:, 0]) | (drawn["value"] > inside[:, 1])
            short = way.replace(" ", "_")
            of_estimates |= {
                f"shift_{short}": shift.mean(),
                f"width_{short}": (inside[:, 1] - inside[:, 0]).mean(),
                f"outside_{short}": outside.mean(),
            }
            for interval in INTERVALS:
                ends = np.array(drawn[interval].tolist())
                for target in TARGETS:
                    share, error = coverage(ends, targets[target])
                    covered.append(
                        where
                        | {"statistic": name, "draws": way, "interval": interval, "target": target}
                        | {"n_sets": len(drawn), "coverage": share, "error": error}
                    )
        estimates.append(of_estimates)
    return pd.DataFrame(covered), pd.DataFrame(estimates)


def without_language_neurons(plan: Plan) -> pd.DataFrame:
    """The ratio where no language differs from another: wording is all that languages have of their own.

    Returns
    -------
    DataFrame[n, wording, ratio, error]
        ``wording``: its share of the variance, as in the populations of ``simulate`` and 0; ``ratio``: the
        mean over ``n_sets`` data sets, with its standard error.
    """
    rows = []
    for n in plan.sizes:
        for wording in (WORDING, 0.0):
            population = planted_population(
                0.0, plan.seed, n_neurons=plan.n_neurons, k=plan.k, wording=wording
            )
            ratios = [
                estimate(population, population.draw(n, np.random.default_rng(stream)))["ratio"]
                for stream in ([plan.seed, 0, n, number] for number in range(plan.n_sets))
            ]
            error = np.std(ratios, ddof=1) / np.sqrt(len(ratios))
            rows.append({"n": n, "wording": wording, "ratio": np.mean(ratios), "error": error})
    return pd.DataFrame(rows)


# --- tables of the page -------------------------------------------------------------------------------


def markdown(covered: pd.DataFrame, estimates: pd.DataFrame, nothing: pd.DataFrame) -> str:
    """Tables of what is estimated and of what is covered, for ``docs/methods/intervals.md``."""
    parts = []
    for name, title in zip(STATISTICS, ("Diagonal ratio", "Spearman concentration"), strict=True):
        parts.append(f"### {title}: what is estimated\n\n" + _estimates(estimates, name))
        parts.append(f"### {title}: what 95 % intervals cover\n\n" + _covered(covered, name))
    parts.append("### Diagonal ratio without any language neurons\n\n" + _nothing(nothing))
    return "\n\n".join(parts)


def _nothing(table: pd.DataFrame) -> str:
    columns = list(dict.fromkeys(table["wording"]))
    names = " | ".join(f"wording has {share:.0%} of the variance" for share in columns)
    lines = [f"| sentences | {names} |", "|---:|" + "---:|" * len(columns)]
    for n, part in table.groupby("n", sort=False):
        cells = " | ".join(f"{row.ratio:.3f} ± {row.error:.3f}" for row in part.itertuples())
        lines.append(f"| {n:,} | {cells} |")
    return "\n".join(lines)


def _estimates(table: pd.DataFrame, name: str) -> str:
    lines = [
        "| strength | sentences | true | mean of the estimates | 95 % of the estimates, width | "
        "mean width of the intervals, by sentence (by language) | "
        "mean of the draws − estimate, by sentence (by language) | "
        "estimate outside the draws' percentiles, by sentence (by language) |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in table[table["statistic"] == name].itertuples():
        cells = (
            row.strength, f"{row.n:,}", _number(row.true), _number(row.mean), _number(row.spread),
            f"{_number(row.width_by_sentence)} ({_number(row.width_by_language)})",
            f"{_number(row.shift_by_sentence, '+')} ({_number(row.shift_by_language, '+')})",
            f"{row.outside_by_sentence:.0%} ({row.outside_by_language:.0%})",
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _number(value: float, sign: str = "") -> str:
    """Three decimals, or none past 10."""
    return f"{value:{sign},.{3 if abs(value) < 10 else 0}f}"


def _covered(table: pd.DataFrame, name: str) -> str:
    """One row a strength and size, one column a way of drawing and an interval: mean / true, in %."""
    table = table[table["statistic"] == name]
    columns = [("by sentence", interval) for interval in INTERVALS]
    columns += [("by language", interval) for interval in ("percentile", "centred")]
    names = " | ".join(f"{way}: {interval}" for way, interval in columns)
    lines = [f"| strength | sentences | {names} |", "|---|---:|" + "---:|" * len(columns)]
    for (strength, n), part in table.groupby(["strength", "n"], sort=False):
        share = part.set_index(["draws", "interval", "target"])["coverage"]
        cells = " | ".join(
            f"{100 * share[(*one, 'mean')]:.0f} / {100 * share[(*one, 'true')]:.0f}"
            for one in columns
        )
        lines.append(f"| {strength} | {n:,} | {cells} |")
    return "\n".join(lines)


def write_page(page: Path, tables: str) -> None:
    """Put the tables between the marks of a page."""
    text = page.read_text(encoding="utf-8")
    before, mark, rest = text.partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    if not (mark and end):
        raise ValueError(f"{page}: expected the marks {MARKS[0]} and {MARKS[1]}, in this order")
    page.write_text(f"{before}{mark}\n\n{tables}\n\n{end}{after}", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulate, and write the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coverage", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--strengths", nargs="+", choices=list(STRENGTHS), default=list(STRENGTHS))
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES), help="sentences")
    parser.add_argument("--sets", type=int, default=Plan.n_sets, help="data sets with intervals")
    parser.add_argument("--by-language", type=int, default=Plan.n_by_language,
                        help="how many of them are also drawn by language")  # fmt: skip
    parser.add_argument("--mean-sets", type=int, default=Plan.n_mean,
                        help="further data sets, for the estimator's mean")  # fmt: skip
    parser.add_argument("--resamples", type=int, default=Plan.n_resamples)
    parser.add_argument("--neurons", type=int, default=Plan.n_neurons)
    parser.add_argument("-k", type=int, default=Plan.k)
    parser.add_argument("--seed", type=int, default=Plan.seed)
    parser.add_argument("--output", type=Path, default=Path("results/bench"))
    parser.add_argument("--write", type=Path, metavar="PAGE", help="replace the tables of a page")
    chosen = parser.parse_args(arguments)
    plan = Plan(tuple(chosen.strengths), tuple(chosen.sizes), chosen.sets, chosen.by_language,
                chosen.mean_sets, chosen.resamples, chosen.neurons, chosen.k, chosen.seed)  # fmt: skip
    use_threads(1)
    with threadpool_limits(1):
        _run(plan, chosen)


def _run(plan: Plan, chosen: argparse.Namespace) -> None:
    chosen.output.mkdir(parents=True, exist_ok=True)
    parts, start = [], time.perf_counter()
    for part in simulate(plan):
        parts.append(part)
        covered, estimates = (
            pd.concat(tables, ignore_index=True) for tables in zip(*parts, strict=True)
        )
        covered.to_csv(chosen.output / "coverage.csv", index=False, float_format="%.6g")
        estimates.to_csv(chosen.output / "estimates.csv", index=False, float_format="%.6g")
        row = part[1].iloc[0]
        print(f"{row['strength']}, {row['n']} sentences: ratio {row['mean']:.3f} of {row['true']:.3f}, "
              f"{time.perf_counter() - start:.0f} s", flush=True)  # fmt: skip
    nothing = without_language_neurons(plan)
    nothing.to_csv(chosen.output / "no_language_neurons.csv", index=False, float_format="%.6g")
    if chosen.write:
        write_page(chosen.write, markdown(covered, estimates, nothing))
    print(f"{chosen.output}: coverage.csv, estimates.csv, no_language_neurons.csv; "
          f"{time.perf_counter() - start:.0f} s")  # fmt: skip


if __name__ == "__main__":
    main()

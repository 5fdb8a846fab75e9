"""Trains the demo's SeamlessM4T v2 from nothing: ``python -m demo_model.train --output resources/demo``.

All 36 directions between six languages, from speech and from text. Each input is encoded once and
decoded into two languages: its own (asr, tr) and another (s2t, t2t). In a share of the pairs the
language tag of the decoder is replaced by a wrong one, so that the output language is carried by
the prefix and the source as well as by the tag, as it is in a large model.
"""

import argparse
import random
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from steplens.models.seamless.features import pad_features, speech_features

from .corpus import N_TEST, normalized, splits
from .evaluate import exact_match
from .export import export
from .grammar import LANGUAGES
from .model import DemoModel, small_config
from .speech import load_waves
from .tokenizer import train_tokenizer


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights, beside the code, the corpus and the library versions."""

    seed: int = 0
    n_pieces: int = 560
    n_steps: int = 2_000
    batch_size: int = 32  # spoken and, again, written inputs; each is decoded into two languages
    peak_learning_rate: float = 2e-3
    weight_decay: float = 0.01
    warmup_share: float = 0.15
    wrong_tag_share: float = 0.2
    english_share: float = 0.4  # of the translations out of another language
    ctc_weight: float = 0.5
    max_grad_norm: float = 1.0


class Batches:
    """Endless seeded batches of (language, sentence id), of similar length within a batch."""

    def __init__(self, lengths: dict[tuple[str, int], int], batch_size: int, seed: int):
        self._lengths, self._batch_size = lengths, batch_size
        self._random = random.Random(seed)

    def __iter__(self):
        keys = sorted(self._lengths)
        while True:
            self._random.shuffle(keys)
            window = self._batch_size * 16
            for start in range(0, len(keys) - window + 1, window):
                chunk = sorted(keys[start : start + window], key=self._lengths.__getitem__)
                batches = [
                    chunk[i : i + self._batch_size] for i in range(0, window, self._batch_size)
                ]
                self._random.shuffle(batches)
                yield from batches


def targets_of(batch, recipe: Recipe, chooser: random.Random):
    """Two target languages and decoder tags for each input: [(language, tag), ...], (2 x batch)."""
    chosen = []
    for own in (True, False):
        for source, _ in batch:
            others = [language for language in LANGUAGES if language != source]
            if own:
                target = source
            elif source != "eng" and chooser.random() < recipe.english_share:
                target = "eng"
            else:
                target = chooser.choice(others)
            tag = target
            if chooser.random() < recipe.wrong_tag_share:
                tag = chooser.choice([language for language in LANGUAGES if language != target])
            chosen.append((target, tag))
    return chosen


def train(recipe: Recipe, output: Path, cache: Path) -> None:
    """Synthesise, train, evaluate on unseen sentences, and write the checkpoint folder."""
    began = time.monotonic()
    torch.manual_seed(recipe.seed)
    everything = splits()
    meaning_of = {number: meaning for split in everything.values() for number, meaning in split}
    train_ids = [number for number, _ in everything["train"]]
    tokenizer = train_tokenizer(
        [normalized(meaning_of[n], language) for n in train_ids for language in LANGUAGES],
        LANGUAGES,
        recipe.n_pieces,
    )
    speech = {language: load_waves(language, cache) for language in LANGUAGES}
    n_samples = {(lang, n): len(wave) for lang in LANGUAGES for n, wave in speech[lang].items()}
    features_of = {
        (language, number): speech_features(wave).half()
        for language in LANGUAGES
        for number, wave in speech[language].items()
    }
    print(f"features ready after {time.monotonic() - began:.0f} s", flush=True)

    tag_id = {lang: tokenizer.convert_tokens_to_ids(f"__{lang}__") for lang in LANGUAGES}
    end = tokenizer.eos_token_id
    pieces = {
        (language, number): tokenizer(
            normalized(meaning, language), add_special_tokens=False
        ).input_ids
        for number, meaning in meaning_of.items()
        for language in LANGUAGES
    }
    model = DemoModel(small_config(len(tokenizer)))
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters", flush=True)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.peak_learning_rate, weight_decay=recipe.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.peak_learning_rate, recipe.n_steps, pct_start=recipe.warmup_share
    )
    keys = [(language, number) for language in LANGUAGES for number in train_ids]
    spoken = iter(
        Batches(
            {(lang, n): len(features_of[lang, n]) for lang, n in keys},
            recipe.batch_size,
            recipe.seed,
        )
    )
    written = iter(
        Batches({key: len(pieces[key]) for key in keys}, recipe.batch_size, recipe.seed + 1)
    )
    chooser = random.Random(recipe.seed + 2)

    def loss_of(batch, states, state_mask):
        chosen = targets_of(batch, recipe, chooser)
        targets = [
            torch.tensor([end, tag_id[tag], *pieces[target, number], end])
            for (target, tag), (_, number) in zip(chosen, [*batch, *batch], strict=True)
        ]
        padded = pad_sequence(targets, batch_first=True)  # pad id is 0
        logits = model.logits(padded[:, :-1], states.repeat(2, 1, 1), state_mask.repeat(2, 1))
        # The tag is given, never predicted: the first prediction is the first content token.
        return functional.cross_entropy(
            logits[:, 1:].flatten(0, 1), padded[:, 2:].flatten(), ignore_index=0
        )

    model.train()
    for step in range(1, recipe.n_steps + 1):
        batch = next(spoken)
        features, mask = pad_features([features_of[key].float() for key in batch])
        speech_loss = loss_of(batch, *model.encode_speech(features, mask))
        ctc_loss = model.ctc_loss(mask.sum(1), [torch.tensor(pieces[key]) for key in batch])
        batch = next(written)
        tokens = pad_sequence(
            [torch.tensor([tag_id[lang], *pieces[lang, n], end]) for lang, n in batch],
            batch_first=True,
        )
        text_loss = loss_of(batch, *model.encode_text(tokens, (tokens != 0).long()))
        optimizer.zero_grad(set_to_none=True)
        (speech_loss + text_loss + recipe.ctc_weight * ctc_loss).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.max_grad_norm)
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == 1:
            print(
                f"step {step} speech {speech_loss.item():.3f} text {text_loss.item():.3f} "
                f"ctc {ctc_loss.item():.3f} elapsed {time.monotonic() - began:.0f} s",
                flush=True,
            )
        if step % 500 == 0 and step < recipe.n_steps:
            scores = exact_match(model, tokenizer, features_of, "dev", n=20)
            print(f"step {step} exact match (dev) {scores}", flush=True)
    scores = exact_match(model, tokenizer, features_of, "test", n=N_TEST)
    print(f"exact match on unseen sentences {scores}", flush=True)
    export(model, tokenizer, n_samples, output, asdict(recipe), scores)
    print(f"finished after {time.monotonic() - began:.0f} s", flush=True)


def main() -> None:
    # Gradients vanish into subnormal numbers here and there, which cost a CPU a hundred times more.
    torch.set_flush_denormal(True)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("resources/demo"))
    parser.add_argument("--cache", type=Path, default=Path("build/demo_model"))
    for name, default in asdict(Recipe()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    options = vars(parser.parse_args())
    output, cache = options.pop("output"), options.pop("cache")
    train(Recipe(**options), output, cache)


if __name__ == "__main__":
    main()

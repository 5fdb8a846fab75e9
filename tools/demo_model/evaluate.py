"""Share of unseen sentences that the model writes down without a single error."""

import torch
from torch.nn.utils.rnn import pad_sequence

from steplens.models.seamless.features import pad_features

from .corpus import normalized, splits
from .grammar import LANGUAGES

MAX_NEW_TOKENS = 48


@torch.no_grad()
def greedy(model, states, state_mask, tag: int, end: int) -> torch.Tensor:
    """Greedy decoding without a cache: (batch, <= 48) token ids after the language tag."""
    tokens = torch.tensor([[end, tag]]).repeat(len(states), 1)
    done = torch.zeros(len(states), dtype=torch.bool)
    for _ in range(MAX_NEW_TOKENS):
        best = model.logits(tokens, states, state_mask)[:, -1].argmax(-1)
        best = best.masked_fill(done, 0)
        tokens = torch.cat([tokens, best[:, None]], 1)
        done |= best == end
        if done.all():
            break
    return tokens[:, 2:]


@torch.no_grad()
def exact_match(model, tokenizer, features_of, split: str, n: int) -> dict[str, dict[str, float]]:
    """{task: {language: share}} for asr, tr, s2t and t2t (to English) on the first n sentences."""
    model.eval()
    sentences = splits()[split][:n]
    tag_id = {lang: tokenizer.convert_tokens_to_ids(f"__{lang}__") for lang in LANGUAGES}
    end = tokenizer.eos_token_id
    scores: dict[str, dict[str, float]] = {"asr": {}, "tr": {}, "s2t": {}, "t2t": {}}

    def share(states, mask, target):
        decoded = greedy(model, states, mask, tag_id[target], end)
        texts = tokenizer.batch_decode(decoded, skip_special_tokens=True)
        return sum(
            text == normalized(meaning, target)
            for text, (_, meaning) in zip(texts, sentences, strict=True)
        ) / len(sentences)

    for language in LANGUAGES:
        features, mask = pad_features(
            [features_of[language, number].float() for number, _ in sentences]
        )
        states, state_mask = model.encode_speech(features, mask)
        scores["asr"][language] = share(states, state_mask, language)
        scores["s2t"][language] = share(states, state_mask, "eng")
        tokens = pad_sequence(
            [
                torch.tensor(
                    [
                        tag_id[language],
                        *tokenizer(
                            normalized(meaning, language), add_special_tokens=False
                        ).input_ids,
                        end,
                    ]
                )
                for _, meaning in sentences
            ],
            batch_first=True,
        )
        states, state_mask = model.encode_text(tokens, (tokens != 0).long())
        scores["tr"][language] = share(states, state_mask, language)
        scores["t2t"][language] = share(states, state_mask, "eng")
    model.train()
    return scores

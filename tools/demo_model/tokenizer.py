"""A BPE of a few hundred pieces, as a real SeamlessM4TTokenizer.

Chinese and Japanese are spelt by character: their sentences are cut into single characters before
merges are learnt, so that the only merge they take part in is that of the word boundary with a
sentence's first character. The first content token thus already tells the language.
"""

import json

from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers
from transformers import SeamlessM4TTokenizer

SPECIAL_TOKENS = ["<pad>", "<unk>", "<s>", "</s>"]
CJK = r"[\p{Han}\p{Hiragana}\p{Katakana}ー]"


def train_tokenizer(
    texts: list[str], languages: tuple[str, ...], n_pieces: int
) -> SeamlessM4TTokenizer:
    """Learn ``n_pieces`` pieces (special tokens included) and add a tag per language."""
    bpe = Tokenizer(models.BPE(unk_token="<unk>"))
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first"),
            pre_tokenizers.Split(Regex(f"▁?{CJK}"), behavior="isolated"),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=n_pieces, special_tokens=SPECIAL_TOKENS, show_progress=False
    )
    bpe.train_from_iterator(texts, trainer)
    model = json.loads(bpe.to_str())["model"]
    merges = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in model["merges"]]
    return SeamlessM4TTokenizer(
        vocab=model["vocab"],
        merges=merges,
        additional_special_tokens=[f"__{language}__" for language in languages],
        src_lang=languages[0],
        tgt_lang=languages[0],
    )

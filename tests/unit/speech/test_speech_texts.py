"""What engines are given of a sentence, and what is told of it before it is spoken."""

import ctypes
import multiprocessing

import pandas as pd
import pytest
from fleurs_files import LANGUAGES, line, write_split

from steplens.config.run import parse_config
from steplens.errors import ConfigError
from steplens.files.atomic import write_parquet
from steplens.planning.start_checks import require_readable
from steplens.speech.number_words import knows
from steplens.speech.speak import synthesize_corpus
from steplens.speech.texts import spoken_text, unread_letters

CHECKS = {
    "max_attempts": 1, "min_seconds_per_character": 0.025, "max_seconds_per_character": 0.25,
    "max_silent_share": 0.6, "max_clipped_share": 0.001,
}  # fmt: skip
KANJI, KANA = "今日は学校で本を読みます。", "きょうは がっこうで ほんを よみます。"


def phonemes(voice, *texts):
    """What eSpeak NG makes of texts, a process of its own."""
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply(_phonemes, (voice, texts))


def _phonemes(voice, texts):
    import espeakng_loader

    library = ctypes.CDLL(espeakng_loader.get_library_path())
    library.espeak_Initialize(2, 0, espeakng_loader.get_data_path().encode(), 0)
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    assert library.espeak_SetVoiceByName(voice.encode()) == 0
    found = []
    for text in texts:
        pointer = ctypes.c_char_p(text.encode())
        said = []
        while pointer.value is not None:
            said.append(
                (library.espeak_TextToPhonemes(ctypes.byref(pointer), 1, 2) or b"").decode()
            )
        found.append(" ".join(said))
    return found


ESPEAK = [language for language in LANGUAGES.values() if language.espeak]


def test_kanji_are_flagged_and_kana_are_not(tmp_path, caplog):
    """Spoken all the same, and counted."""
    texts = [KANJI, "三万人です。", KANA]
    frame = {
        "utterance": [1, 2, 3],
        "raw_transcription": texts,
        "text": texts,
        "recordings": ["[]"] * 3,
    }
    write_parquet(pd.DataFrame(frame), tmp_path / "corpus.parquet")
    output = tmp_path / "speech" / "jpn.parquet"
    synthesize_corpus(
        tmp_path / "corpus.parquet", LANGUAGES["jpn"], "espeak", {"words_per_minute": 220}, CHECKS, {}, 1, 1,
        output,
    )  # fmt: skip
    problems = pd.read_parquet(output)["problem"].tolist()
    assert problems == [
        "eSpeak NG cannot read 6 of its letters: 今日学校本読",
        "eSpeak NG cannot read 3 of its letters: 三万人",
        "",
    ]
    assert "jpn: 2 of 3 sentences: eSpeak NG cannot read its letters" in caplog.text


UNREAD = {
    "kanji in Japanese": ("jpn", "今日は", "今日"),
    "kana in Chinese": ("cmn", "我说ねこ", "ねこ"),
    "Han characters past the first plane": ("cmn", "我有𪚥", "𪚥"),
    "the syllable iong of Mandarin": ("cmn", "小熊和兄弟", "熊兄"),
    "Han characters in Korean": ("kor", "大韓民國 사람", "大韓民國"),
    "Cyrillic letters in German": ("deu", "Er sagt Мир.", "Мир"),
    "Arabic letters in Russian": ("rus", "Это سلام.", "سلام"),
}


@pytest.mark.parametrize(("code", "text", "letters"), UNREAD.values(), ids=UNREAD)
def test_letters_that_a_voice_cannot_read_are_those_it_names(code, text, letters):
    """By the voice's own output: it says what letter it is, in part in English."""
    assert unread_letters(text, LANGUAGES[code]) == letters
    voice = LANGUAGES[code].espeak
    named, read = phonemes(voice, letters[0], {"cmn": "人", "jpn": "か"}.get(code, "a"))
    assert "(en)" in named or len(named) > 2 * len(read) + 5, (named, read)


def test_words_that_a_voice_passes_to_another_one_are_read():
    for text in ("Αθήνα", "서울", "हिन्दी", "Wort", "ქართული"):
        assert unread_letters(text, LANGUAGES["rus"]) == ""
        (said,) = phonemes("ru", text)
        assert len(said) < 25


@pytest.mark.parametrize("language", ESPEAK, ids=[one.code for one in ESPEAK])
def test_every_voice_of_the_table_reads_numbers(language):
    """Without a word of English, as they are given to it; none is flagged."""
    given = spoken_text("1234", language, "espeak")
    assert given.problem == ""
    (said,) = phonemes(language.espeak, given.text)
    assert len(said) > 5
    assert "(en)" not in said


def test_digits_that_nothing_spells_out_are_flagged_for_xtts():
    hindi, german = LANGUAGES["hin"], LANGUAGES["deu"]
    assert not knows("hin")
    assert (
        spoken_text("यहाँ ५० लोग", hindi, "xtts").problem
        == "digits that cannot be spelled out in Hindi: 50"
    )
    assert spoken_text("यहाँ ५० लोग", hindi, "recorded").problem == ""
    assert spoken_text("50 Leute", german, "xtts").text == "fünfzig Leute"


# Before the first job


def japanese(folder, *texts):
    write_split(
        folder, LANGUAGES["jpn"], "test", [line(n, text, text) for n, text in enumerate(texts, 1)]
    )
    corpus = {"path": str(folder), "n_utterances": len(texts), "splits": ["test"]}
    return parse_config(
        {"languages": ["jpn", "deu"], "corpus": corpus, "steering": {"n_utterances": 1}}
    )


def test_a_language_whose_voice_cannot_read_its_sentences_is_refused_at_the_start(tmp_path):
    config = japanese(tmp_path, KANJI, KANJI, KANA)
    with pytest.raises(
        ConfigError, match=r"voice ja can read, got 2 of 3 sentences of Japanese \(jpn\): eSpeak"
    ):
        require_readable(config, [("jpn", "espeak")])
    assert require_readable(config, [("jpn", "xtts")]) == []


def test_a_few_such_sentences_are_told_at_the_start(tmp_path):
    config = japanese(tmp_path, KANJI, KANA, KANA)
    (note,) = require_readable(config, [("jpn", "espeak")])
    assert "1 of 3 sentences of Japanese (jpn)" in note
    assert "flagged" in note

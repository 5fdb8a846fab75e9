"""What is read of a text and what is spoken of it; texts that look alike are spoken alike, to the byte."""

import unicodedata

import pandas as pd
import pytest
from conftest import ROOT
from fleurs_files import LANGUAGES, line, write_split

from steplens.corpus.sentences import read_sentences, read_split
from steplens.files.atomic import write_parquet
from steplens.languages.text_forms import read_form, refusal, spoken_form
from steplens.speech.speak import synthesize_corpus

CHECKS = {
    "max_attempts": 1, "min_seconds_per_character": 0.0, "max_seconds_per_character": 9.0,
    "max_silent_share": 1.0, "max_clipped_share": 1.0,
}  # fmt: skip

# Language, what a file may hold, what it looks like.
ALIKE = {
    "full-width digits": ("jpn", "２０１０ねんに うまれました。", "2010ねんに うまれました。"),
    "full-width digits, Chinese": ("cmn", "有１００个人。", "有100个人。"),
    "full-width letters": ("cmn", "他看ＤＮＡ。", "他看DNA。"),
    "full-width comma in a number": ("cmn", "有１，０００个人。", "有1,000个人。"),
    "half-width kana": ("jpn", "ｶﾞﾗｽを かいました。", "ガラスを かいました。"),
    "ideographic space": ("jpn", "はい\u3000そうです。", "はい そうです。"),
    "mathematical letters": ("eng", "The 𝐯𝐞𝐜𝐭𝐨𝐫 is 𝟏𝟐 long.", "The vector is 12 long."),
    "ligature": ("deu", "Heute ﬁnden wir den Apfel.", "Heute finden wir den Apfel."),
    "ligature of three": ("eng", "The oﬃce is here.", "The office is here."),
    "long s": ("deu", "Das iſt gut.", "Das ist gut."),
    "digraph": ("hrv", "ǆep je pun.", "džep je pun."),
    "Roman numeral": ("fra", "Louis Ⅳ est là.", "Louis IV est là."),
    "ellipsis": ("deu", "Ja… nein.", "Ja... nein."),
    "Arabic presentation forms": ("arb", "ﻛﺘﺎﺏ جديد", "كتاب جديد"),
    "tatweel": ("arb", "كتـــاب جديد", "كتاب جديد"),
    "compatibility ideograph": ("cmn", "我有金\uf90a。", "我有金金。"),
    "Kangxi radical": ("cmn", "⼈很多。", "人很多。"),
    "no-break space": ("fra", "Il y avait 10\u00a0000 personnes.", "Il y avait 10 000 personnes."),
    "narrow no-break space": ("fra", "Il y avait 10\u202f000 mots.", "Il y avait 10 000 mots."),
    "thin and other spaces": ("deu", "Ja,\u2009das\u2003ist\u2005gut.", "Ja, das ist gut."),
    "two spaces": ("deu", "Ja,  das ist  gut.", "Ja, das ist gut."),
    "decomposed letters": ("deu", "Die Tu\u0308r ist schön.", "Die Tür ist schön."),
    "decomposed Hangul": ("kor", unicodedata.normalize("NFD", "한국어를 배운다."), "한국어를 배운다."),
    "decomposed Vietnamese": ("vie", unicodedata.normalize("NFD", "Tiếng Việt."), "Tiếng Việt."),
    "zero-width space": ("deu", "Heute mor\u200bgen.", "Heute morgen."),
    "soft hyphen": ("deu", "Heute mor\u00adgen.", "Heute morgen."),
    "byte order mark": ("deu", "Heute\ufeff morgen.", "Heute morgen."),
    "word joiner": ("deu", "Heute mor\u2060gen.", "Heute morgen."),
    "joiner in a Latin word": ("deu", "Heute mor\u200dgen\u200c.", "Heute morgen."),
    "marks of direction": ("arb", "كتاب\u200f جديد\u200e \u061cهنا", "كتاب جديد هنا"),
    "variation selector": ("eng", "I am here\ufe0f now.", "I am here now."),
    "tag characters": ("eng", "I am\U000e0041\U000e0042 here.", "I am here."),
    "Hangul filler": ("kor", "한국어\u3164를 배운다.", "한국어를 배운다."),
    "no-break hyphen": ("deu", "Die E\u2011Mail ist da.", "Die E-Mail ist da."),
    "typographic apostrophe": ("fra", "C’est l’été.", "C'est l'été."),
    "typographic apostrophe of thousands": ("deu", "Es waren 10’000 Menschen.", "Es waren 10'000 Menschen."),
    "modifier apostrophe": ("ukr", "П\u02bcять книг.", "П'ять книг."),
    "a Latin letter in a Cyrillic word": ("rus", "Он живёт в Mоскве.", "Он живёт в Москве."),
    "several Latin letters": ("rus", "Oн вчepa пришёл.", "Он вчера пришёл."),
    "a Latin letter with a mark": ("rus", "Он шëл по льду.", "Он шёл по льду."),
    "a Cyrillic letter in a Latin word": ("eng", "The аpple is red.", "The apple is red."),
    "a Latin letter in a Greek word": ("ell", "Το νερo είναι κρύο.", "Το νερο είναι κρύο."),
    "dze": ("mkd", "sвезда е тука.", "ѕвезда е тука."),
    "Ukrainian i": ("ukr", "Вiн тут.", "Він тут."),
    "cedilla for comma": ("ron", "Ştiinţa este aici.", "Știința este aici."),
    "Arabic yeh in Persian": ("pes", "كتاب علي", "کتاب علی"),
    "chillu": ("mal", "അവന്\u200d വന്നു", "അവൻ വന്നു"),
    "a non-joiner where nothing joins": ("pes", "کار\u200cخانه بزرگ", "کارخانه بزرگ"),
    "native digits": ("hin", "यहाँ ५० लोग हैं।", "यहाँ 50 लोग हैं।"),
}  # fmt: skip


def spoken_digests(folder, code, texts):
    """Digests of the audio of these texts, from a TSV through the stages corpus and speech."""
    language = LANGUAGES[code]
    write_split(folder, language, "test", [line(n, raw, raw) for n, raw in enumerate(texts, 1)])
    write_parquet(read_sentences(folder, language, ["test"]), folder / "corpus.parquet")
    output = folder / "speech" / f"{code}.parquet"
    synthesize_corpus(
        folder / "corpus.parquet", language, "espeak", {"words_per_minute": 220}, CHECKS, {}, 1, 1, output
    )  # fmt: skip
    table = pd.read_parquet(output)
    assert (table["seconds"] > 0.3).all()
    return table["sha256"].tolist()


@pytest.mark.parametrize(("code", "odd", "plain"), ALIKE.values(), ids=ALIKE)
def test_what_looks_alike_is_the_same_audio(tmp_path, code, odd, plain):
    assert odd != plain
    one, other = spoken_digests(tmp_path, code, [odd, plain])
    assert one == other


# Of NFKC, what would change the look, or what a letter is: language, text.
KEPT = {
    "superscripts": ("eng", "m² and 10⁶"),
    "fractions": ("eng", "½ a cup"),
    "Japanese marks": ("jpn", "「はい」、そうです。ほんとう！？（ね）〜"),
    "Chinese marks": ("cmn", "他说：“好，走！”"),
    "Hangul jamo": ("kor", "ㅋㅋ 한글 ㄱ"),
    "Chinese characters": ("cmn", "银行和車站"),
    "kana and Latin letters": ("jpn", "Tシャツ"),
    "the micro sign": ("deu", "5 µg"),
    "ordinals": ("spa", "1.º y 2.ª"),
    "Greek symbols in Latin words": ("eng", "TNFα and Δt"),
    "a word of another script": ("rus", "Windows и DVD-диск"),
    "letters that the other script has not": ("rus", "Wорд"),
    "Greek capitals without a basic Latin look-alike": ("eng", "ΛCDM, ΣX, ΘX"),
    "inflected abbreviations, Russian": ("rus", "SMSки, TOPовый, VIPов"),
    "inflected abbreviations, Ukrainian": ("ukr", "SMSки"),
    "inflected abbreviations, Serbian": ("srp", "SMSа"),
    "joiners of Devanagari": ("mar", "र्\u200dया आणि क्\u200cष"),
    "joiners of Bengali": ("ben", "র\u200d্যাব"),
    "non-joiners of Persian": ("pes", "می\u200cخواهم"),
    "spaces of Khmer words": ("khm", "ខ្ញុំ\u200bទៅ"),
    "Armenian ew": ("hye", "և"),
    "Thai am": ("tha", "คำ"),
    "Turkish letters": ("tur", "İstanbul'da ıslak şey"),
}  # fmt: skip


@pytest.mark.parametrize(("code", "text"), KEPT.values(), ids=KEPT)
def test_what_looks_another_stays(code, text):
    assert spoken_form(text, code, LANGUAGES[code].script) == text


@pytest.mark.parametrize("code", ["deu", "spa", "fra", "cmn", "jpn", "eng"])
def test_the_texts_of_the_demo_are_read_and_spoken_as_they_stand(code):
    language = LANGUAGES[code]
    for split in ("test", "dev"):
        path = ROOT / "resources" / "demo" / "fleurs" / "data" / language.fleurs / f"{split}.tsv"
        for text in path.read_text(encoding="utf-8").split("\n")[:-1]:
            raw = text.split("\t")[2].strip()
            assert read_form(raw) == raw == spoken_form(raw, code, language.script)


def test_spoken_form_is_done_once():
    """What is spoken has no other spoken form."""
    for code, odd, _ in ALIKE.values():
        once = spoken_form(read_form(odd), code, LANGUAGES[code].script)
        assert spoken_form(once, code, LANGUAGES[code].script) == once


# What is read


def test_texts_are_read_composed(tmp_path):
    """The reference and what the model is given, whichever way the file writes them."""
    decomposed = unicodedata.normalize("NFD", "Die schöne Tür")
    write_split(tmp_path, LANGUAGES["deu"], "test", [line(1, decomposed, decomposed.lower())])
    table = read_sentences(tmp_path, LANGUAGES["deu"], ["test"])
    assert table[["raw_transcription", "text"]].to_numpy().tolist() == [
        ["Die schöne Tür", "die schöne tür"]
    ]


def test_two_recordings_of_a_text_in_two_forms_are_of_one_sentence(tmp_path):
    both = [unicodedata.normalize(form, "die schöne tür") for form in ("NFC", "NFD")]
    lines = [line(1, text, text, file=f"{n}.wav") for n, text in enumerate(both)]
    write_split(tmp_path, LANGUAGES["deu"], "test", lines)
    assert read_sentences(tmp_path, LANGUAGES["deu"], ["test"])["recordings"][0].count("file") == 2


REFUSED = ["\0", "\x1b", "\x07", "\x85", "\x7f", "\x0b", "\u202a", "\u202e", "\u2066", "\u2069"]


@pytest.mark.parametrize("character", REFUSED)
def test_characters_that_nobody_sees_are_refused_with_file_and_line(tmp_path, character):
    """Shown escaped. Of a file with so many good lines that a damaged one is left out, in the log."""
    lines = [line(1), line(2, f"Guten {character}Tag.")]
    path = write_split(tmp_path, LANGUAGES["deu"], "test", lines)
    with pytest.raises(ValueError) as caught:
        read_split(path)
    message = str(caught.value)
    assert f"{path}:2: raw_transcription: expected text without control characters" in message
    assert f"got U+{ord(character):04X}" in message
    assert "remove these characters" in message
    assert message.isprintable()


def test_marks_of_direction_and_line_ends_are_read(tmp_path):
    path = write_split(tmp_path, LANGUAGES["arb"], "test", [])
    path.write_bytes(line(1, "ab\u200f", "ab").encode() + b"\r\n")
    assert read_split(path)["raw_transcription"].tolist() == ["ab\u200f"]


def test_a_message_repeats_little_of_its_input():
    assert len(refusal("a" * 10**6 + "\0" + "b" * 10**6)) < 250

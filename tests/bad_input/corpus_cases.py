"""Sentences: broken files, wrong languages, too few of them."""

import os
from dataclasses import replace

from fleurs_files import LANGUAGES, line, write_split

from bad_input.case import Case, World
from steplens.corpus.fleurs import check_corpus, split_file
from steplens.corpus.sentences import choose_sentences, read_split, write_corpus
from steplens.errors import ConfigError

DEU, FRA, JPN = (LANGUAGES[code] for code in ("deu", "fra", "jpn"))
FETCH = "fetch the file again"


def split_of(*lines: str):
    """Prepares one German split with these lines after a good one; gives its path."""
    return lambda world: write_split(world.folder, DEU, "test", [line(1), *lines])


def raw_split(content: bytes):
    """Prepares a German split of these bytes."""

    def prepare(world: World):
        path = write_split(world.folder, DEU, "test", [])
        path.write_bytes(content)
        return path

    return prepare


def corpora(world: World):
    """German with ids 1 to 4, French with 5 to 8."""
    write_split(world.folder, DEU, "test", [line(n) for n in range(1, 5)])
    write_split(world.folder, FRA, "test", [line(n) for n in range(5, 9)])
    return world.folder


def chosen(n: int, parallel_over=(), language=DEU, splits=("test",)):
    return lambda folder: choose_sentences(
        folder, language, list(splits), n, 1, list(parallel_over)
    )


def written(n: int, language=DEU):
    """The stage; what it may leave is its table."""
    return lambda folder: write_corpus(
        folder, language, ["test"], n, 1, [], folder / "out" / "table.parquet"
    )


def sentences(language, *lines: str):
    def prepare(world: World):
        write_split(world.folder, language, "test", list(lines))
        return world.folder

    return prepare


def without(path: str):
    """A whole folder of two languages that lacks one file or folder."""

    def prepare(world: World):
        corpora(world)
        (world.folder / path).rename(world.folder / "elsewhere")
        return world.folder

    return prepare


def checked(languages=(DEU, FRA), splits=("test",), spoken=(), path=None):
    return lambda folder: check_corpus(path or folder, list(languages), list(splits), list(spoken))


def pointer(world: World):
    corpora(world)
    content = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    split_file(world.folder, FRA, "test").write_bytes(content)
    return world.folder


def pipe(world: World):
    """Who opens it waits for a writer."""
    corpora(world)
    path = split_file(world.folder, FRA, "test")
    path.unlink()
    os.mkfifo(path)
    return world.folder


def pipe_for_recordings(world: World):
    corpora(world)
    path = world.folder / "data" / "de_de" / "audio" / "test.tar.gz"
    path.parent.mkdir()
    os.mkfifo(path)
    return world.folder


TABLE = (".", "out", "out/table.parquet")
LINE_2 = "de_de/test.tsv:2"

CASES = [
    Case("a line of six columns", split_of("2\ta.wav\tx\tx\tx\t1"), read_split, ValueError,
         "fields", LINE_2, "expected 7 fields", "got 6", FETCH),
    Case("an id that is no number", split_of(line("zwei")), read_split, ValueError,
         "id:", LINE_2, "expected a number", "got 'zwei'", FETCH),
    Case("a number of samples that is none", split_of(line(2, samples="2.5")), read_split, ValueError,
         "samples:", LINE_2, "expected a number", "got '2.5'", FETCH),
    Case("an id of 20 digits", split_of(line(17653886544018491781)), read_split, ValueError,
         "id:", LINE_2, "expected a number up to 9223372036854775807", "got '17653886544018491781'",
         "number the sentences anew, alike in all languages"),
    Case("a negative id", split_of(line(-2)), read_split, ValueError,
         "id:", LINE_2, "expected a number", "got '-2'", "mend the lines"),
    Case("a header", split_of(line("id")), read_split, ValueError,
         "id:", LINE_2, "expected a number", "got 'id'", "remove the header"),
    Case("a negative number of samples", split_of(line(2, samples=-1)), read_split, ValueError,
         "samples:", LINE_2, "expected a number", "got '-1'", "mend the lines"),
    Case("a number of samples beyond 64 bits", split_of(line(2, samples=2**64)), read_split, ValueError,
         "samples:", LINE_2, "expected a number up to 9223372036854775807", "got '18446744073709551616'",
         "mend the lines"),
    Case("a recording outside the folder", split_of(line(2, file="../../2.wav")), read_split, ValueError,
         "file:", LINE_2, "expected a plain file name", "got '../../2.wav'", FETCH),
    Case("an escape character in a text", split_of(line(2, "Guten \x1b[2JTag.")), read_split, ValueError,
         "raw_transcription:", LINE_2, "expected text without control characters",
         "got U+001B in 'Guten \\x1b", "remove these characters"),
    Case("a NUL in a text", split_of(line(2, "Guten Tag.", "guten \0tag")), read_split, ValueError,
         "transcription:", LINE_2, "expected text without control characters", "got U+0000",
         "remove these characters"),
    Case("a text that is shown backwards", split_of(line(2, "Guten \u202eTag.")), read_split, ValueError,
         "raw_transcription:", LINE_2, "bidirectional overrides", "got U+202E (RIGHT-TO-LEFT OVERRIDE)",
         "remove these characters"),
    Case("bytes that are no UTF-8", raw_split(line(1).encode() + b"\n2\t\xff\xfe\n"), read_split,
         ValueError, "text", LINE_2, "expected text in UTF-8", "got byte 0xff", FETCH),
    Case("a file in UTF-16", raw_split(f"{line(1)}\n{line(2)}\n".encode("utf-16")), read_split,
         ValueError, "text", "de_de/test.tsv:1", "expected text in UTF-8", "got byte 0xff of UTF-16",
         "save it as UTF-8"),
    Case("a table with commas", raw_split(line(1).replace("\t", ",").encode()), read_split, ValueError,
         "fields", "de_de/test.tsv:1", "expected 7 fields separated by tabs", "got 1, with commas",
         "write tabs in their place"),
    Case("lines that end in carriage returns alone", raw_split(f"{line(1)}\r{line(2)}\r".encode()),
         read_split, ValueError, "fields", "de_de/test.tsv:1", "expected 7 fields separated by tabs",
         "got 13, with carriage returns among them", "end each line with a line feed"),
    Case("a tab within a text", split_of(line(2, raw="Guten\tTag.")), read_split, ValueError,
         "fields", LINE_2, "expected 7 fields separated by tabs", "got 8", "mend the lines"),
    Case("an empty file", raw_split(b""), read_split, ValueError,
         "sentences", "de_de/test.tsv", "expected sentences", "an empty file", "fetch it again"),
    Case("blank lines", raw_split(b"\n \n"), read_split, ValueError,
         "sentences", "de_de/test.tsv", "expected sentences", "got blank lines", "fetch it again"),
    Case("a web page", raw_split(b"<!DOCTYPE html>"), read_split, ValueError,
         "sentences", "de_de/test.tsv", "expected sentences", "a web page", "download the file itself"),
    Case("a missing split in the job", corpora, chosen(2, splits=["train"]), FileNotFoundError,
         "FLEURS split", "de_de/train.tsv", "expected a FLEURS split", "got no such file",
         "check corpus.path and corpus.splits"),
    Case("a missing split at the start", corpora, checked(splits=["train"]), ConfigError,
         "corpus.path", "de_de/train.tsv", "expected", "there is test.tsv", "the sentences of German"),
    Case("a missing language", without("data/fr_fr"), checked(), ConfigError,
         "corpus.path", "data/fr_fr", "expected the folder", "there is de_de", "the sentences of French"),
    Case("a pointer of git-lfs", pointer, checked(), ConfigError,
         "corpus.path", "fr_fr/test.tsv", "expected", "a pointer of git-lfs", "git lfs pull"),
    Case("a pipe for sentences at the start", pipe, checked(), ConfigError,
         "corpus.path", "fr_fr/test.tsv", "expected", "it is a named pipe", "put the file itself there"),
    Case("a pipe for sentences in the job", pipe, chosen(2, language=FRA), ValueError,
         "sentences", "fr_fr/test.tsv", "expected sentences", "it is a named pipe",
         "put the file itself there"),
    Case("a pipe for recordings", pipe_for_recordings, checked(languages=(DEU,), spoken=(DEU,)), ConfigError,
         "corpus.path", "de_de/audio/test.tar.gz", "expected", "it is a named pipe",
         "put the file itself there"),
    Case("a folder of another layout", without("data"), checked(), ConfigError,
         "corpus.path", "{folder}", "expected a folder that holds data/<code>/<split>.tsv",
         "no folder data", "the name google/fleurs"),
    Case("a split that FLEURS does not have", corpora, checked(splits=["dev2"], path="google/fleurs"),
         ConfigError, "corpus.splits", "google/fleurs", "expected some of train, dev, test",
         "got 'dev2'", "the splits of"),
    Case("a language that FLEURS does not have", corpora,
         checked(languages=[replace(DEU, code="gsw", name="Swiss German", fleurs="")]), ConfigError,
         "languages", "resources/languages.tsv", "expected languages that FLEURS has",
         "got Swiss German (gsw)", "leave it out"),
    Case("too few sentences", corpora, chosen(5), ValueError,
         "corpus.n_utterances", "deu in test", "expected at most 4", "got 5", "ask for fewer"),
    Case("languages that share no sentence", corpora, chosen(2, [DEU, FRA]), ValueError,
         "corpus.n_utterances", "that deu, fra share", "expected at most 0", "got 2", "ask for fewer"),
    Case("no sentence with text", sentences(DEU, line(1, text=""), line(2, raw=" ")), chosen(2),
         ValueError, "corpus.n_utterances", "deu in test", "expected at most 0", "got 2", "ask for fewer"),
    Case("the sentences of a language in another script",
         sentences(JPN, *[line(n) for n in range(1, 5)]), written(3, JPN), ValueError,
         ("corpus.path", "script"), ("data/ja_jp", "the first 1: 'guten tag'"),
         "expected sentences of Japanese (jpn) in CJK script", "got 4 of 4 in another one",
         "check the folder"),
    # Flags: they are kept, or left out, and counted.
    Case("one sentence without text", sentences(DEU, line(1), line(2, text=" "), line(3)), written(2),
         None, "sentence", "deu", "expected text in every sentence", "got none in 1 of 3",
         "left out: 2", TABLE),
    Case("one id with two texts", sentences(DEU, line(1), line(2), line(2, text="etwas anderes")),
         written(2), None, "text", "deu", "expected one text an id", "got another in 1 recordings",
         ("left out: 2", "de_de/test.tsv:3: 'etwas anderes', where", "de_de/test.tsv:2 has 'guten tag'"),
         TABLE),
    Case("one sentence in another script",
         sentences(JPN, line(1), *[line(n, "銀行へ。", "銀行へ") for n in (2, 3)]), written(3, JPN), None,
         "sentences", "jpn", "expected CJK script", "got another in 1 of 3", ("kept: 1", "script_share"),
         TABLE),
]  # fmt: skip

"""A small parallel grammar: 8 times x 12 subjects x 10 verbs x 12 objects x 8 places = 92,160 sentences.

Each sentence is a meaning (five indices) that every language words in its own order. All phrases are
complete (article, case, classifier, particle), so that any combination is grammatical. Japanese is
in kana, because eSpeak NG reads no kanji, and is spaced by phrase as in books for children.
"""

import itertools
from dataclasses import dataclass

import numpy as np

LANGUAGES = ("eng", "deu", "spa", "fra", "cmn", "jpn")

# One row a meaning, one column a language, in the order of LANGUAGES.
TIMES = """
this morning | heute morgen | esta mañana | ce matin | 今天早上 | けさ
this evening | heute abend | esta tarde | ce soir | 今天晚上 | こんばん
today | heute | hoy | aujourd'hui | 今天 | きょう
every day | jeden tag | cada día | chaque jour | 每天 | まいにち
on monday | am montag | el lunes | lundi | 星期一 | げつようびに
on sunday | am sonntag | el domingo | dimanche | 星期天 | にちようびに
in summer | im sommer | en verano | en été | 夏天 | なつに
in winter | im winter | en invierno | en hiver | 冬天 | ふゆに
"""
SUBJECTS = """
the teacher | der lehrer | el profesor | le professeur | 老师 | せんせいは
the doctor | der arzt | el médico | le médecin | 医生 | いしゃは
the friend | der freund | el amigo | le copain | 朋友 | ともだちは
the mother | die mutter | la madre | la mère | 妈妈 | おかあさんは
the father | der vater | el padre | le père | 爸爸 | おとうさんは
the farmer | der bauer | el granjero | le fermier | 农民 | のうかは
the cook | der koch | el cocinero | le cuisinier | 厨师 | コックは
the painter | der maler | el pintor | le peintre | 画家 | がかは
the student | der student | el estudiante | l'élève | 学生 | がくせいは
the neighbour | der nachbar | el vecino | le voisin | 邻居 | となりのひとは
the girl | das mädchen | la chica | la fille | 女孩 | おんなのこは
the king | der könig | el rey | le roi | 国王 | おうさまは
"""
VERBS = """
finds | findet | encuentra | trouve | 找到 | みつけます
buys | kauft | compra | achète | 买 | かいます
sells | verkauft | vende | vend | 卖 | うります
brings | bringt | trae | apporte | 带来 | もってきます
shows | zeigt | muestra | montre | 展示 | みせます
paints | malt | pinta | peint | 画 | えがきます
washes | wäscht | lava | lave | 洗 | あらいます
hides | versteckt | esconde | cache | 藏起 | かくします
seeks | sucht | busca | cherche | 寻找 | さがします
forgets | vergisst | olvida | oublie | 忘记 | わすれます
"""
OBJECTS = """
a new book | ein neues buch | un libro nuevo | un nouveau livre | 一本新书 | あたらしい ほんを
a red apple | einen roten apfel | una manzana roja | une pomme rouge | 一个红苹果 | あかい りんごを
an old letter | einen alten brief | una carta vieja | une vieille lettre | 一封旧信 | ふるい てがみを
a small lamp | eine kleine lampe | una lámpara pequeña | une petite lampe | 一盏小灯 | ちいさい ランプを
a white flower | eine weiße blume | una flor blanca | une fleur blanche | 一朵白花 | しろい はなを
a big bag | eine große tasche | una bolsa grande | un grand sac | 一个大包 | おおきい かばんを
a black hat | einen schwarzen hut | un sombrero negro | un chapeau noir | 一顶黑帽子 | くろい ぼうしを
a long rope | ein langes seil | una cuerda larga | une longue corde | 一根长绳子 | ながい なわを
a blue chair | einen blauen stuhl | una silla azul | une chaise bleue | 一把蓝椅子 | あおい いすを
a fine picture | ein schönes bild | un cuadro bonito | un beau tableau | 一幅美丽的图片 | きれいな えを
a green bottle | eine grüne flasche | una botella verde | une bouteille verte | 一个绿瓶子 | みどりの びんを
a heavy stone | einen schweren stein | una piedra pesada | une lourde pierre | 一块重石头 | おもい いしを
"""
PLACES = """
in the school | in der schule | en la escuela | dans l'école | 在学校 | がっこうで
in the garden | im garten | en el jardín | dans le jardin | 在花园 | にわで
at the market | auf dem markt | en el mercado | au marché | 在市场 | いちばで
in the kitchen | in der küche | en la cocina | dans la cuisine | 在厨房 | だいどころで
in the city | in der stadt | en la ciudad | en ville | 在城里 | まちで
at the station | am bahnhof | en la estación | à la gare | 在车站 | えきで
in the forest | im wald | en el bosque | dans la forêt | 在森林 | もりで
on the street | auf der straße | en la calle | dans la rue | 在街上 | みちで
"""


def _table(text: str) -> list[dict[str, str]]:
    rows = [[cell.strip() for cell in line.split("|")] for line in text.strip().splitlines()]
    return [dict(zip(LANGUAGES, row, strict=True)) for row in rows]


_SLOTS = {
    "time": _table(TIMES),
    "subject": _table(SUBJECTS),
    "verb": _table(VERBS),
    "object": _table(OBJECTS),
    "place": _table(PLACES),
}
_ORDER = {
    "eng": "time subject verb object place",
    "deu": "time verb subject object place",
    "spa": "time subject verb object place",
    "fra": "time subject verb object place",
    "cmn": "time subject place verb object",
    "jpn": "time subject place object verb",
}


@dataclass(frozen=True)
class Meaning:
    """One sentence, as an index into each slot's table."""

    time: int
    subject: int
    verb: int
    object: int
    place: int

    def words(self, language: str) -> str:
        """The sentence in one language, lower case, without punctuation."""
        phrases = [_SLOTS[slot][getattr(self, slot)][language] for slot in _ORDER[language].split()]
        return ("" if language == "cmn" else " ").join(phrases)


def meanings(seed: int) -> list[Meaning]:
    """All sentences of the grammar in a seeded order."""
    everything = list(itertools.product(*(range(len(rows)) for rows in _SLOTS.values())))
    order = np.random.default_rng(seed).permutation(len(everything))
    return [Meaning(*everything[i]) for i in order]

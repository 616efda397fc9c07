"""English for template statements: participles, articles, and the head noun of a phrase.

The rules are simple on purpose. They cover the verbs of VidSitu and the nouns of ImSitu; a rare
wrong form reads badly, but changes no label. The library inflect has other gaps: it writes
"openning" and "visitting", and puts an article before plurals and uncounted nouns.
"""

from __future__ import annotations

import re

_VOWELS = "aeiou"


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_DOUBLED = _set(
    "abet abhor acquit admit babysit befit beget begin commit compel concur confer control defer deter dispel emit "
    "equip excel expel forbid forget handicap impel incur infer input kidnap occur omit output patrol permit prefer "
    "propel rebut refer regret repel submit transfer transmit unplug unwrap unzip upset"
)
"""Verbs of two or more syllables that double their last consonant."""

_PLURALS = frozenset({"children", "feet", "geese", "men", "mice", "oxen", "people", "police", "teeth", "women", "cattle"})

_UNCOUNTED = _set(
    "air bacon beer blood bread butter cash cement cheese clay clothing coal coffee corn cotton dirt dough dust equipment "
    "fabric fire flour food furniture gasoline gold grass gravel hair hay ice ink juice laundry leather lettuce luggage "
    "lumber makeup meat milk money mud music oil paint paper pasta plastic powder rain rice rubber salt sand smoke snow "
    "soap soil soup steam sugar sunlight tea traffic trash vegetation water wheat wine wood wool yarn"
)
"""Frequent nouns without an article."""

_PREPOSITIONS = _set(
    "about above across after against along among around as at atop away before behind below beneath beside besides "
    "between beyond by down during for from in inside into like near next of off on onto out outside over past through "
    "to toward towards under underneath up upon via with within without"
)
_CLAUSES = _set(
    "and but carrying called covered dressed driving filled having holding including is named or riding running sitting "
    "standing talking that was wearing when where which while who whom whose"
)
"""Words that start a clause about the noun before them."""

_DETERMINERS = _set(
    "a all an another any both each every few her his its many more most my no one other our several some that the their "
    "these this those three two your"
)
_NO_NOUNS = _set(
    "anyone anything everyone everything he her herself here him himself i it itself me myself nobody none nothing "
    "oneself others she someone something somebody somewhere that them themselves there they this us we what who you "
    "yourself"
)

_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")


def participle(verb: str) -> str:
    """Return the present participle of a verb: "running", "picking up".

    Args:
        verb: base form, with particles after it ("pick up").
    """
    base, _, particles = verb.partition(" ")
    if base.endswith("ie"):
        form = f"{base[:-2]}ying"
    elif base.endswith("e") and not base.endswith(("ee", "oe", "ye")) and base != "be":
        form = f"{base[:-1]}ing"
    elif base in _DOUBLED or _is_short(base):
        form = f"{base}{base[-1]}ing"
    elif base.endswith("ic"):
        form = f"{base}king"
    else:
        form = f"{base}ing"
    return f"{form} {particles}" if particles else form


def _is_short(verb: str) -> bool:
    """Return whether a verb is one syllable that ends in one vowel and one consonant."""
    sounds = re.sub("^qu", "q", verb)
    return re.fullmatch(rf"[^{_VOWELS}]*[{_VOWELS}][^{_VOWELS}wxyh]", sounds) is not None


def with_article(noun: str) -> str:
    """Return a noun with "a" or "an"; a plural or uncounted noun stays as it is."""
    last = noun.rpartition(" ")[2]
    plural = last in _PLURALS or (last.endswith("s") and not last.endswith(("ss", "us", "is")))
    if plural or last in _UNCOUNTED:
        return noun
    sounds_open = noun[:1].lower() in _VOWELS and not re.match(r"(?:uni(?!nt)|use|ute|eu|one\b)", noun.lower())
    sounds_open = sounds_open or re.match(r"(?:hour|honest|honou?r|heir)", noun.lower()) is not None
    return f"{'an' if sounds_open else 'a'} {noun}"


def head_noun(phrase: str) -> str:
    """Return the head noun of a phrase in lower case: "a man in a suit" is "man".

    It is the last word before the first preposition, verb form or conjunction, after prepositions
    and determiners at the start. So "the team captain of the club" is "captain".

    Returns:
        "" if there is none, as in "" and "himself".
    """
    words = _WORD.findall(phrase.lower())
    while words and words[0] in _PREPOSITIONS | _DETERMINERS:
        words = words[1:]
    end = next((place for place, word in enumerate(words) if word in _PREPOSITIONS | _CLAUSES), len(words))
    head = words[end - 1] if end else ""
    return "" if head in _NO_NOUNS or head in _DETERMINERS else head.removesuffix("'s").removesuffix("’s")

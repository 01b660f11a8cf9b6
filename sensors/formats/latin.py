"""Names in any script as ASCII, for keys that every program, topic and URL can carry."""

import unicodedata

# German and Nordic letters as they are written where they are missing; Greek after ISO 843, Russian, Ukrainian and
# Serbian after BGN/PCGN, all without marks.
_PAIRS = (
    "ä ae ö oe ü ue ß ss æ ae œ oe ø oe ł l đ d ð d þ th ı i ħ h µ u "
    "α a β v γ g δ d ε e ζ z η i θ th ι i κ k λ l μ m ν n ξ x ο o π p ρ r σ s ς s τ t υ y φ f χ ch ψ ps ω o "
    "а a б b в v г g д d е e ё e ж zh з z и i й y к k л l м m н n о o п p р r с s т t у u ф f х kh ц ts ч ch ш sh "
    "щ shch ы y э e ю yu я ya і i ї yi є ye ґ g ў u ђ dj ј j љ lj њ nj ћ c џ dz"
)
_SPELLED = dict(zip(_PAIRS.split()[::2], _PAIRS.split()[1::2], strict=True)) | {"ъ": "", "ь": ""}

# The combining class of the marks that make another syllable of a Japanese one: they are no accents.
_VOICED = 8


def latin(text: str) -> str:
    """`text` in ASCII, always the same for the same text: umlauts spelled out, accents left away, Greek and Cyrillic
    transliterated, letters of other scripts by their name in Unicode. What is no letter becomes `_`.

    >>> [latin(name) for name in ("Öldruck", "ÖLDRUCK", "débit", "Давление", "Θερμοκρασία", "온도", "温度", "±5°")]
    ['Oeldruck', 'OELDRUCK', 'debit', 'Davlenie', 'Thermokrasia', 'ondo', '6e295ea6', '_5_']
    """
    text = _spell_out(unicodedata.normalize("NFC", text))
    parts = unicodedata.normalize("NFKD", text)
    bare = "".join(sign for sign in parts if unicodedata.combining(sign) in (0, _VOICED))
    # An accent may have hidden a letter that can be spelled; and syllables come together again.
    text = _spell_out(unicodedata.normalize("NFC", bare))
    return "".join(sign if sign.isascii() else _by_name(sign) for sign in text)


def _spell_out(text: str) -> str:
    if text.isascii():
        return text
    capitals = text.isupper()
    spelled = []
    for sign in text:
        found = _SPELLED.get(sign)
        if found is None and (found := _SPELLED.get(sign.lower())) is not None:
            found = found.upper() if capitals else found.capitalize()
        spelled.append(sign if found is None else found)
    return "".join(spelled)


def _by_name(sign: str) -> str:
    """`HANGUL SYLLABLE ON` is `on`, `CJK UNIFIED IDEOGRAPH-6E29` is `6e29`."""
    if unicodedata.category(sign)[0] not in "LM":
        return "_"
    return unicodedata.name(sign, "_").split(" ")[-1].rpartition("-")[2].lower()

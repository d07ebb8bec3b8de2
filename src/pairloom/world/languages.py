"""Translation of claims into German, French and Spanish: kinds, colours, one relation, the place.

Numbers, sizes and patterns are left out.
"""

from __future__ import annotations

from pairloom.world.claim import Claim, Mention

LANGUAGES = ("german", "french", "spanish")
# kind -> noun with its gender (m, f, n), per language
_NOUNS: dict[str, tuple[str, str, str]] = {
    "ball": ("m Ball", "m ballon", "f pelota"), "star": ("m Stern", "f étoile", "f estrella"), "heart": ("n Herz", "m cœur", "m corazón"),
    "box": ("f Kiste", "f caisse", "f caja"), "basket": ("m Korb", "m panier", "f cesta"), "cup": ("f Tasse", "f tasse", "f taza"),
    "house": ("n Haus", "f maison", "f casa"), "tree": ("m Baum", "m arbre", "m árbol"), "flower": ("f Blume", "f fleur", "f flor"),
    "mushroom": ("m Pilz", "m champignon", "f seta"), "umbrella": ("m Regenschirm", "m parapluie", "m paraguas"),
    "balloon": ("m Luftballon", "m ballon gonflable", "m globo"), "kite": ("m Drachen", "m cerf-volant", "f cometa"),
    "boat": ("n Boot", "m bateau", "m barco"), "car": ("n Auto", "f voiture", "m coche"), "hat": ("m Hut", "m chapeau", "m sombrero"),
    "crown": ("f Krone", "f couronne", "f corona"), "table": ("m Tisch", "f table", "f mesa"), "cat": ("f Katze", "m chat", "m gato"),
    "rabbit": ("m Hase", "m lapin", "m conejo"), "bear": ("m Bär", "m ours", "m oso"), "bird": ("m Vogel", "m oiseau", "m pájaro"),
    "fish": ("m Fisch", "m poisson", "m pez"), "frog": ("m Frosch", "f grenouille", "f rana"), "snail": ("f Schnecke", "m escargot", "m caracol"),
    "turtle": ("f Schildkröte", "f tortue", "f tortuga"), "robot": ("m Roboter", "m robot", "m robot"), "ghost": ("n Gespenst", "m fantôme", "m fantasma"),
}  # fmt: skip
# German stem; French and Spanish masculine/feminine. A German stem that ends in "-" does not bend.
_COLOURS: dict[str, tuple[str, str, str]] = {
    "red": ("rot", "rouge/rouge", "rojo/roja"), "orange": ("orangefarben", "orange/orange", "naranja/naranja"),
    "yellow": ("gelb", "jaune/jaune", "amarillo/amarilla"), "green": ("grün", "vert/verte", "verde/verde"),
    "blue": ("blau", "bleu/bleue", "azul/azul"), "purple": ("lila-", "violet/violette", "morado/morada"),
    "pink": ("rosa-", "rose/rose", "rosa/rosa"), "brown": ("braun", "marron/marron", "marrón/marrón"),
    "white": ("weiß", "blanc/blanche", "blanco/blanca"), "black": ("schwarz", "noir/noire", "negro/negra"),
}  # fmt: skip
# relation -> German words and case; French and Spanish words
_RELATIONS: dict[str, tuple[tuple[str, str], str, str]] = {
    "left of": (("links von", "dative"), "à gauche de", "a la izquierda de"),
    "above": (("über", "dative"), "au-dessus de", "encima de"),
    "in front of": (("vor", "dative"), "devant", "delante de"),
    "inside": (("in", "dative"), "dans", "dentro de"),
    "on": (("auf", "dative"), "sur", "sobre"),
    "holding": (("hält", "accusative"), "tient", "sujeta"),
    "lifting": (("hebt", "accusative"), "soulève", "levanta"),
    "chasing": (("jagt", "accusative"), "poursuit", "persigue"),
    "pushing": (("schiebt", "accusative"), "pousse", "empuja"),
    "riding": (("reitet auf", "dative"), "chevauche", "monta"),
    "wearing": (("trägt", "accusative"), "porte", "lleva"),
}
_PLACES: dict[str, tuple[str, str, str]] = {
    "meadow": ("auf einer Wiese", "dans un pré", "en un prado"), "beach": ("am Strand", "à la plage", "en la playa"),
    "desert": ("in der Wüste", "dans le désert", "en el desierto"), "snow": ("im Schnee", "dans la neige", "en la nieve"),
    "night": ("in der Nacht", "la nuit", "por la noche"), "room": ("in einem Zimmer", "dans une pièce", "en una habitación"),
    "sea": ("unter Wasser", "sous l'eau", "bajo el agua"),
}  # fmt: skip
_ARTICLES = {
    "nominative": {"m": ("ein", "er"), "f": ("eine", "e"), "n": ("ein", "es")},
    "accusative": {"m": ("einen", "en"), "f": ("eine", "e"), "n": ("ein", "es")},
    "dative": {"m": ("einem", "en"), "f": ("einer", "en"), "n": ("einem", "en")},
}


def translate(claim: Claim, language: str) -> str:
    """The claim in another language, as a sentence."""
    column = LANGUAGES.index(language)
    if claim.links:
        link = claim.links[0]
        german, *others = _RELATIONS[link.name]
        words, case = german if column == 0 else (others[column - 1], "")
        object = _noun(claim.mentions[link.object], column, case or "nominative")
        phrase = f"{_noun(claim.mentions[link.subject], column)} {words} {object}"
    else:
        joint = (" und ", " et ", " y ")[column]
        phrase = joint.join(_noun(mention, column) for mention in claim.mentions)
    phrase = phrase.replace(" de un", " d'un") if language == "french" else phrase
    place = f" {_PLACES[claim.place][column]}" if claim.place in _PLACES else ""
    return phrase[0].upper() + phrase[1:] + place


def _noun(mention: Mention, column: int, case: str = "nominative") -> str:
    assert mention.kind is not None
    gender, _, noun = _NOUNS[mention.kind][column].partition(" ")
    colour = dict(mention.attributes).get("colour")
    if column == 0:
        article, ending = _ARTICLES[case][gender]
        noun += "n" if mention.kind in ("rabbit", "bear") and case != "nominative" and noun == "Hase" else ""
        noun += "en" if noun == "Bär" and case != "nominative" else ""
        stem = _COLOURS[colour][0] if colour else ""
        adjective = stem[:-1] + " " if stem.endswith("-") else f"{stem}{ending} " if stem else ""
        return f"{article} {adjective}{noun}"
    article = (("un", "une"), ("un", "una"))[column - 1][gender == "f"]
    adjective = " " + _COLOURS[colour][column].split("/")[gender == "f"] if colour else ""
    return f"{article} {noun}{adjective}"

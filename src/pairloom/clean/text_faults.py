"""Faults of a text by itself, by rules. What a rule drops is certain: an empty text, a bare file name or address, markup without
words, a refusal that is the whole text, one phrase in a loop. Everything else is a doubt, which is shown and left to the judge.

Does not know: pictures, scores, other texts of the set.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from pairloom.clean.adverts import is_advert, is_credit, is_stock_phrase
from pairloom.clean.file_names import HAS_ADDRESS, is_address, is_file_name, looks_like_file_name
from pairloom.clean.repairs import is_mojibake, repair

START = 2000  # characters that are read: a text of 100,000 characters then costs no more than a short one
LONG = 75  # words of a text that CLIP reads in full
_ABOUT = r"(?:image|picture|photo|photograph|screenshot|file|attachment|content|request|people|person|individuals?|caption|description|this|that|it)s?"
_UNABLE = r"(?:can'?t|cannot|can not|could not|couldn'?t|am unable to|'m unable to|unable to|am not able to|'m not able to|not able to|don'?t|do not|won'?t)"
_VERB = r"(?:see|view|help|assist|describe|provide|identify|recogni[sz]e|analy[sz]e|generate|access|comply|fulfil+|process|write|create|open|display|have access to|interpret)"
_REFUSAL = re.compile(
    r"^\W*(?:as an? (?:large |helpful )?(?:ai|artificial intelligence|language)(?: language)?(?: model| assistant)?\b"
    rf"|(?:i'?m (?:very |so )?sorry|i am sorry|sorry|unfortunately|i apologi[sz]e|my apologies|apologies)\b.{{0,80}}?{_UNABLE} {_VERB}\b.{{0,60}}?\b{_ABOUT}\b"
    rf"|i(?: {_UNABLE}|'m unable to|'m not able to) {_VERB}\b.{{0,40}}?\b{_ABOUT}\b)",
    re.DOTALL,
)
_ANSWER = re.compile(
    rf"\bas an? (?:large )?(?:ai|language) (?:language )?model\b|\bi(?: {_UNABLE}|'m unable to|'m not able to) {_VERB}\b.{{0,60}}\b(?:image|picture|photo)"
    r"|\bno (?:image|picture|photo)(?: was| is|s were)?(?: provided| attached| uploaded| given)\b|^\W*(?:sure|certainly|of course|absolutely|okay)[!,.] (?:here|this|the|i)"
    r"|^\W*here(?:'s| is| are)\b.{0,40}\b(?:caption|description|alt[- ]text|summary|prompt)s?\b[^.]{0,60}:"
    r"|\b(?:image|picture|photo|file) (?:could not|couldn't|can't|cannot|failed to) (?:be )?(?:load|display|open|process|view|shown)"
    r"|\b(?:please|could you) (?:provide|upload|share|attach|send) (?:an?|the|me|your|more|another)\b|\b(?:let me know if|feel free to ask|how can i (?:help|assist))\b",
    re.DOTALL,
)
_SAID = frozenset(
    "ai language unable cannot t sure certainly course absolutely okay here provided attached uploaded given load loaded display open opened process view viewed shown provide upload share attach send know ask help assist".split()
)
_DANGLING = frozenset("a an the of with and or at from for is are its his their".split())
_TOKEN = re.compile(r"\w+|[^\w\s]")
_LETTERS = re.compile(r"\w+")
_CODE = re.compile(
    r"^\s*[\[{]\s*[\"'{\[].*[\"'\]}\d]\s*[\]}]\s*$|^(?:[\w-]+\s*:\s*[^;{}:]+;\s*)+$|\bfunction\s*\(|=>\s*\{|\bvar \w+ ?=|\{\s*[\w-]+\s*:\s*[^}]*;\s*\}",
    re.DOTALL,
)

_SETTINGS = re.compile(r"negative prompt:\s|steps: \d+, sampler:\s", re.IGNORECASE)


def text_faults(text: str) -> list[str]:
    """Codes of the faults of a text by itself."""
    stripped = text.strip()
    if _is_empty(stripped):
        return ["empty"]
    start = stripped[:START]
    proposal = repair(start)
    plain = proposal.text.strip() or start
    if proposal.codes and _is_empty(proposal.text.strip()):
        return ["url_html"]
    low = plain.lower().replace("’", "'") if "’" in plain else plain.lower()
    words = _LETTERS.findall(low)
    codes = _certain(low) or _doubts(plain, low, words)
    linked = ("://" in low or "www." in low) and bool(HAS_ADDRESS.search(low))
    if codes != ["url_html"] and ("markup" in proposal.codes or linked or _is_code(start)):
        codes.append("markup")
    if not start.isascii() and is_mojibake(start):
        codes.append("mojibake")
    codes += [code for code in proposal.codes if code in ("entities", "blanks")]
    codes += _loops(words)
    if len(plain) > LONG and (len(stripped) > START or len(_TOKEN.findall(plain)) > LONG):
        codes.append("too_long")
    if start.endswith(("...", "…", "-")) or (
        len(words) > 2 and words[-1] in _DANGLING and plain[-1].isalpha()
    ):
        codes.append("cut_off")
    return codes


def _certain(low: str) -> list[str]:
    """The fault of a text (in lower case) that is certainly no description."""
    if is_file_name(low):
        return ["file_name"]
    if " " not in low and is_address(low):
        return ["url_html"]
    return ["refusal"] if _REFUSAL.match(low) else []


def _doubts(text: str, low: str, words: Sequence[str]) -> list[str]:
    """What a text may be instead of a description."""
    codes = []
    if looks_like_file_name(text, low):
        codes.append("possible_file_name")
    if is_stock_phrase(words) or is_credit(text) or low.startswith("image may contain"):
        codes.append("boilerplate")
    elif is_advert(text, low, words):
        codes.append("spam")
    if not _SAID.isdisjoint(words) and _ANSWER.search(low):
        codes.append("possible_refusal")
    return codes


def _is_code(text: str) -> bool:
    """Whether a text reads like program code or data, such as the settings that image generators write behind a prompt."""
    if _SETTINGS.match(text):
        return True
    return (not {"{", "[", ";"}.isdisjoint(text)) and bool(_CODE.search(text))


def _loops(words: Sequence[str]) -> list[str]:
    """The fault of words of which some repeat in a loop: it is certain where the loop is nearly the whole text."""
    count = len(words)
    if count - len(set(words)) < 3:
        return []
    for period in range(1, min(20, count // 4) + 1):
        run = best = 0
        for one, other in zip(words, words[period:]):
            run = run + 1 if one == other else 0
            best = max(best, run)
        turns, covered = (best + period) / period, best + period
        if turns >= 4 and covered >= 8 and not all(word.isdigit() for word in set(words)):
            sure = covered >= 0.75 * count and covered >= (10 if period < 4 else 12)
            return ["repetition" if sure else "repetitive"]
    return []


def _is_empty(text: str) -> bool:
    """Whether a text has neither letters nor digits nor symbols such as emoji or mathematical signs."""
    return not any(map(str.isalnum, text[:1000])) and not any(
        unicodedata.category(character) in ("So", "Sm") for character in text[:200]
    )

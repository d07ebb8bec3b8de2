"""Advertising and stock phrases: evidence that a text says nothing of its picture. Both are doubts, which a judge confirms or not.

An advert shows by what it wants: prices, discounts, an order, a click. A word that also stands in captions ("sale", "shop",
"cheap") counts only beside others, and less in a sentence: "bananas on sale at a market" is a caption, "Bananas Sale Online" is
not. A stock phrase is a text all of whose words are those that pages say of pictures ("Load image into gallery viewer"), or a
credit without more.

Does not know: pictures, scores, other texts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

# The patterns are for texts in lower case: patterns that ignore case take three times as long.
_OFFER = re.compile(
    r"\b(?:(free|fast|worldwide) (\w+ )?(shipping|delivery|postage)|ships? free|cash ?back|savings? (of|up to)"
    r"|buy (now|it now|cheap|here|today|(one|two|1|2),? get)|(order|register|enrol+|book|subscribe|apply|call|act|hurry|download|shop) (it )?(now|today)"
    r"|order your|add to (cart|basket|bag|wish ?list)|click (here|below|now|the link|on the)|link in (our |my |the )?bio|sign up|subscribe to|follow us|dm (us|me|for)|like and share|call us"
    r"|(limited|last)[- ](time|chance|minute) (offer|deal|sale)|last chance|while (supplies|stocks?) last|money[- ]back|satisfaction guaranteed|act fast"
    r"|(low|lowest|best|factory|wholesale|cheap|competitive|discount|special|sale) prices?|price (list|guarantee|match|drop)|(promo(tion(al)?)?|discount|voucher) codes?|coupons?"
    r"|(hot|flash|clearance|black friday|cyber monday|mega|super|garage|best|big|winter|summer) (sales?|deals?|sell(er|ing))|best-sell(er|ing)"
    r"|black friday|cyber monday|clearance|free (trial|quote|gifts?|download|samples?|bonus|spins?)|download free|for free|paypal|cash on delivery|made to order|in stock|pre-?order"
    r"|dhl|moq|oem|odm|per (lot|piece|dozen)|get rich|make money|earn (money|cash|[$€£])|work from home|weight loss|weird trick|(online )?casino bonus"
    r"|payday|(bad )?credit (loans?|repair)|win (big|cash)|full (movie|version|episodes?)|apk|torrent|keygen|watch online|serial key)\b"
)
_SIGNED = re.compile(  # with one of _SIGNS
    r"\d ?% ?(off|discount)\b|\bup to \d+ ?%|\bsave (up to )?[$€£]? ?\d|\bwin [$€£] ?\d|(#\w+\s*){3,}|\bfollow @|(!\s*){3,}"
)
_SIGNS = frozenset("$€£¥₹%#!@")
_COUNTED = re.compile(  # with a digit
    r"\d ?(pcs?|pieces|pairs|sets?|units)\s?/\s?\w+|\b\d+ ?pcs\b|\b\d for \d\b|\bcall (0?800|1-?8\d\d)\b|\blose \d+ ?(kg|lbs?|pounds|kilos)\b|\bwin \d+ ?(dollars|euros)\b"
)
_DIGIT = re.compile(r"\d")
_PRICE = re.compile(
    r"(us|au|ca|hk)?[$€£¥₹] ?\d|\d ?[€£]|\b(usd|eur|gbp|inr|rs\.?) ?\d|\d ?(usd|eur|gbp|dollars|euros?)\b"
)
_COMMERCIAL = frozenset(  # singular
    "sale wholesale wholesaler retail cheap cheapest discount discounted buy buying shop shopping store price priced deal offer promotion promo online "
    "supplier manufacturer factory exporter bulk oem review gratis free guaranteed guarantee saving save loan bonus replica quality download "
    "subscribe follow exclusive preorder delivery shipping ebay amazon aliexpress etsy groupon auction rent rental booking hire bestseller affordable "
    "bargain outlet order purchase coupon voucher insurance mortgage".split()
)
_TRIGGERS = frozenset(  # one of these words, without a last s, is in every offer
    "free fast worldwide ship cash cashback saving buy now today your add click link sign subscribe u dm like call limited last money satisfaction act "
    "price low promo promotion promotional discount voucher code coupon sale deal seller selling friday monday clearance download paypal order preorder stock moq "
    "oem odm dhl per rich earn home weight weird casino payday credit win movie version episode apk torrent keygen online key".split()
)
_SELLING = re.compile(
    r"\b((for|to) (sale|rent|hire|let)|(shop|store|buy) .{0,80}\bonline|online (store|shop)|wholesale(?! (market|warehouse|district|grocer|house|company))|new arrivals?|high quality|top quality)\b"
)
_SHOUTED = re.compile(r"\b(FREE|SALE|BUY|SAVE|OFFERS?|DEALS?|DISCOUNTS?|CHEAP|WHOLESALE)\b")
_WORDS = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_SMALL = frozenset(
    "a an the his her their its my our this that some at in on of with from is are and by to into over under near during while who".split()
)
SENTENCE = 0.4  # largest share of capitals and numbers among the later words of a sentence


def is_advert(text: str, low: str, words: Sequence[str]) -> bool:
    """Whether a text reads like advertising. low: the same in lower case; words: of it."""
    known = {word.removesuffix("s") for word in words}
    signed, counted = not _SIGNS.isdisjoint(low), bool(_DIGIT.search(low))
    offers = 0 if _TRIGGERS.isdisjoint(known) else len(_OFFER.findall(low))
    offers += len(_SIGNED.findall(low)) if signed else 0
    offers += len(_COUNTED.findall(low)) if counted else 0
    weight = len(_COMMERCIAL & known) + (len(_PRICE.findall(low)) if counted else 0)
    if not offers and not weight:
        return False
    if is_sentence(text):
        return offers > 1 or offers + weight > 3
    selling = bool(_SELLING.search(low)) or (bool(_SHOUTED.search(text)) and not text.isupper())
    return offers > 0 or weight + selling > 1 + len(words) // 20


def is_sentence(text: str) -> bool:
    """Whether a text reads like a sentence: it has small words, and few of its later words begin with a capital or a digit."""
    words = _WORDS.findall(text)
    later = words[1:]
    raised = sum(not word[0].islower() for word in later)
    return len(later) > 1 and raised <= SENTENCE * len(later) and not _SMALL.isdisjoint(map(str.lower, words))


_NAMED = frozenset(  # words of pages for pictures and for parts of pages: a stock phrase has one of them
    "image images img photo photos photograph photographs photography picture pictures pic pics thumbnail thumb placeholder avatar logo icon "
    "banner gallery caption alt advertisement advert click tap download downloads loading load copyright share skip page slide slideshow "
    "stock royalty untitled unnamed unknown undefined null nan none default lightbox carousel slider viewer screenshot illustration vector "
    "footage video videos clipart wallpaper content menu header footer sidebar navigation loader spinner favicon watermark credit credits courtesy "
    "description title tooltip zoom enlarge posted read profile login javascript opens".split()
)
_FILLERS = frozenset(
    "a an the this that is are of in on to into at by for from and or with our your my no not yet any new here it its be been has was more now "
    "all full wide size large larger small original main cover featured feature hero product company user author owner site website web default "
    "next previous prev first last back close open opens opened go view see show shown window tab link links available unavailable "
    "coming soon missing found provided longer exist result results item items number id file preview sample free premium royalty high res resolution "
    "hd quality rights reserved material copyrighted may contain contains facebook twitter pinterest instagram linkedin whatsapp email tweet pin like follow us "
    "text name jpeg jpg png admin administrator member team member's photographer left right up down top home press enter "
    "scroll move drag hover touch swipe please wait again try enable browser supported support blank empty error failed via source "
    "jan feb mar apr may jun jul aug sep oct nov dec january february march april june july august september october november december".split()
)
# words that alone may name what a picture shows
_THINGS = frozenset(
    "logo icon banner gallery copyright page slide slideshow slider carousel menu header stock tap login spinner footage video videos royalty".split()
)
_STOCK = _NAMED | _FILLERS
_CREDIT = re.compile(
    r"^\W*(((photo|image|picture|photograph)s?|illustration|photography|art ?work)( (credits?|courtesy|copyright))?( (by|from|via)\b|:| of(?=.*courtesy)|/)|courtesy( of)?\b|credits?:|copyright\b|©|\(c\))(.*)$",
    re.IGNORECASE | re.DOTALL,
)
_RESERVED = re.compile(r"[\s.,-]*all rights reserved\W*$", re.IGNORECASE)
_NOT_NAMES = re.compile(r"[^\w\s.,&'’()|/@©-]|\. \w+ \w+ \w+")
_STAYS = frozenset("van von de der den di da la le el al of the and by for via all rights reserved".split())


def is_stock_phrase(words: Sequence[str]) -> bool:
    """Whether every word of a text (in lower case) is one that pages say of pictures, and one of them names such a thing."""
    if len(words) > 20 or not _STOCK.issuperset(word for word in words if not word.isdigit()):
        return False
    named = _NAMED.intersection(words)
    return bool(named) and not (len(words) == 1 and words[0] in _THINGS)


def is_credit(text: str) -> bool:
    """Whether a text is a credit and nothing else: "Photo by Jane Doe", "© 2014 All rights reserved"."""
    match = _CREDIT.match(_RESERVED.sub("", text)) if len(text) <= 120 else None
    if match is None or _NOT_NAMES.search(match.group(match.lastindex or 0)):
        return False
    words = _WORDS.findall(match.group(match.lastindex or 0))
    return 0 < len(words) <= 7 and all(not word[0].islower() or word in _STAYS | _FILLERS for word in words)

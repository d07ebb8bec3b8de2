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


def _with_plurals(words: str) -> frozenset[str]:
    return frozenset(form for word in words.split() for form in (word, f"{word}s"))


# The patterns are for texts in lower case: patterns that ignore case take three times as long.
_OFFER = re.compile(
    r"\b(?:(free|fast|worldwide) (\w+ )?(shipping|delivery|postage)|ships? free|cash ?back|half price|for the price of|free of charge|for lease|while you wait|low cost|near you|contact us|on sale now|no (deposit|credit check|prescription|contract)|factory direct|first page|find cheap|(car|life|home|health) insurance|lose (\w+ )?(fat|weight)|join (now|today)|enter now|savings? (of|up to)"
    r"|buy (now|it now|cheap|here|today|(one|two|1|2),? get)|(order|register|enrol+|book|subscribe|apply|call|act|hurry|download|shop) (it )?(now|today)"
    r"|order your|add to (cart|basket|bag|wish ?list)|click (here|below|now|the link|on the)|link in (our |my |the )?bio|sign up|subscribe to|follow us|dm (us|me|for)|like and share|call us"
    r"|(limited|last)[- ](time|chance|minute) (offer|deal|sale)|last chance|while (supplies|stocks?) last|money[- ]back|satisfaction guaranteed|act fast"
    r"|(low|lowest|best|factory|wholesale|cheap|competitive|discount|special|sale) prices?|price (list|guarantee|match|drop)|(promo(tion(al)?)?|discount|voucher) codes?|coupons?"
    r"|(hot|flash|clearance|black friday|cyber monday|mega|super|garage|best|big|winter|summer) (sales?|deals?|sell(er|ing))|best-sell(er|ing)"
    r"|black friday|cyber monday|clearance|free (trial|quote|estimate|consultation|gifts?|returns?|download|samples?|bonus|spins?|entry)|(days?|weeks?|months?) free|to let|to rent|for hire|download free|for free|paypal|cash on delivery|made to order|pre-?order"
    r"|dhl|moq|oem|odm|per (lot|piece|dozen)|get rich|make money|earn (money|cash|[$€£])|work from home|weight loss|weird trick|(online )?casino bonus"
    r"|payday|(bad )?credit (loans?|repair)|win (big|cash)|full (movie|version|episodes?)|apk|torrent|keygen|watch online|serial key)\b"
)
_SIGNED = re.compile(  # with one of _SIGNS
    r"\b(only|just|from|now|was) (us)?[$€£] ?\d|[$€£]\d[\d.,]* ?(a|an|per|/) ?(month|week|day|night|year|hour|person)\b|\b(make|earn|get) [$€£] ?\d|\d ?% ?(off|discount)\b|\bup to \d+ ?%|\bsave (up to )?[$€£]? ?\d|\bwin [$€£] ?\d|(#\w+\s*){3,}|\bfollow @|(!\s*){3,}"
)
_SIGNS = frozenset("$€£¥₹%#!@")
_COUNTED = re.compile(  # with a digit
    r"\d ?(pcs?|pieces|pairs|sets?|units)\s?/\s?\w+|\b\d+ ?pcs\b|\b\d for \d\b|\bcall (0?800|1-?8\d\d)\b|\blose \d+ ?(kg|lbs?|pounds|kilos)\b|\bwin \d+ ?(dollars|euros)\b"
)
_DIGIT = re.compile(r"\d")
_PRICE = re.compile(r"[$€£¥₹] ?\d|\d ?[€£]|\b(?:usd|eur|gbp|inr|rs\.?) ?\d|\d ?(?:usd|eur|gbp|euros?)\b")
_MONEY = frozenset("usd eur gbp inr rs euro euros".split())
_COMMERCIAL = _with_plurals(
    "sale wholesale wholesaler retail cheap cheapest discount discounted buy buying shop shopping store price priced deal offer promotion promo online "
    "supplier manufacturer factory exporter bulk oem review gratis free guaranteed guarantee saving save loan bonus replica quality download "
    "subscribe follow exclusive preorder delivery shipping ebay amazon aliexpress etsy groupon auction rent rental booking hire bestseller affordable "
    "bargain outlet order purchase coupon voucher insurance mortgage cashback unlimited unbeatable refurbished warranty prescription pharmacy viagra limited "
    "latest website hurry membership cheaper instant invest investment bitcoin crypto forex credit approval debt refund pill diet keto botox implant "
    "slimming detox supplement service seo hosting plumber essay homework lawyer attorney ticket jackpot betting deposit slot dropship exclusive customer "
    "bedroom detached semi terraced bungalow unbeatable luxury recipe"
)
_VERBS = frozenset(
    "buy shop order get win save join visit call click subscribe follow download book register sign discover hurry earn make claim grab try enter request contact apply rent hire".split()
)
_IMPERATIVE = re.compile(  # at the beginning of a phrase, with what follows an imperative
    rf"(?:^|[-–—!.:|,;] )(?:{'|'.join(sorted(_VERBS))}) (?:a|an|the|your|yours|our|now|up|free|more|all|online|from|in|us|today|cheap|here|with|[$€£]?\d)"
)
_PRAISE = frozenset(
    "cheap cheapest wholesale discount discounted affordable buy sale".split()
)  # of wares, at the beginning
_ADDRESSING = frozenset("you your our".split())
_URGENT = frozenset("now today soon hurry".split())
_TRIGGERS = _with_plurals(  # one of these words is in every offer
    "free work piece lot dozen fast worldwide ship cash cashback saving buy now today your add click link sign subscribe dm call limited last money satisfaction act "
    "price low promo promotion promotional discount voucher code coupon sale deal seller selling friday monday clearance download paypal order preorder moq "
    "oem odm dhl rich earn weight weird casino payday credit win movie version episode apk torrent keygen online half join enter let rent hire near you contact deposit check prescription contract factory find insurance fat cost charge lease"
)
_SELLING = re.compile(
    r"\b((for|to) (sale|rent|hire|let)|(shop|store|buy) .{0,80}\bonline|online (store|shop)|wholesale(?! (market|warehouse|district|grocer|house|company))|new arrivals?|high quality|top quality)\b"
)
_SHOUTED = re.compile(r"\b(FREE|SALE|BUY|SAVE|OFFERS?|DEALS?|DISCOUNTS?|CHEAP|WHOLESALE)\b")
_WORDS = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_SMALL = frozenset(
    "a an the his her their its my our this that some at in on of with from is are and by to into over under near during while who".split()
)
DENSE = 0.45  # evidence for each word of a short sentence that is nothing but an advert
SENTENCE = 0.4  # largest share of capitals and numbers among the later words of a sentence


def is_advert(text: str, low: str, words: Sequence[str]) -> bool:
    """Whether a text reads like advertising. low: the same in lower case; words: of it."""
    signed, counted = not _SIGNS.isdisjoint(low), bool(_DIGIT.search(low))
    offers = 0 if _TRIGGERS.isdisjoint(words) else len(_OFFER.findall(low))
    offers += len(_SIGNED.findall(low)) if signed else 0
    offers += len(_COUNTED.findall(low)) if counted else 0
    prices = len(_PRICE.findall(low)) if counted and (signed or not _MONEY.isdisjoint(words)) else 0
    weight = len({word.removesuffix("s") for word in _COMMERCIAL.intersection(words)}) + prices
    if (not offers and not weight) or len(words) < 2:
        return False
    commands = not _VERBS.isdisjoint(words) and bool(_IMPERATIVE.search(low))
    weight += 2 * offers + commands + (not _URGENT.isdisjoint(words)) + 2 * (words[0] in _PRAISE)
    if is_sentence(text):
        addressing = not _ADDRESSING.isdisjoint(words)
        weight += addressing and not commands
        pushing = addressing or commands
        return offers > 1 or weight > 4 or (weight > 2 and (pushing or weight > DENSE * len(words)))
    selling = bool(_SELLING.search(low)) or (bool(_SHOUTED.search(text)) and not text.isupper())
    weight += selling + (prices if len(words) <= 20 else 0)
    return offers > 0 or weight > 1 + len(words) // 20


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
    "description title tooltip zoom enlarge posted read profile login javascript opens reserved print".split()
)
_FILLERS = frozenset(
    "a an the this that is are of in on to into at by for from and or with our your my no not yet any new here it its be been has was more now "
    "all full wide size large larger small original main cover featured feature hero product company user author owner site website web default "
    "next previous prev first last back close open opens opened go view see show shown window tab link links available unavailable "
    "coming soon sorry play screen fullscreen article post blog news story entry missing found provided longer exist result results item items number id file preview sample free premium royalty high res resolution "
    "hd quality rights material copyrighted may contain contains facebook twitter pinterest instagram linkedin whatsapp email tweet pin like follow us "
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
    r"^\W*(((photo|image|picture|photograph)s?|illustration|photography|art ?work)( (credits?|courtesy|copyright|source))?( (by|from|via)\b|:| of(?=.*courtesy)|/)|courtesy( of)?\b|credits?:|source:|copyright\b|©|\(c\))(.*)$",
    re.IGNORECASE | re.DOTALL,
)
_BUTTONS = frozenset("close next previous prev submit cancel".split())  # on pages, if they are alone
_RESERVED = re.compile(r"[\s.,-]*all rights reserved\W*$", re.IGNORECASE)
_NOT_NAMES = re.compile(r"[^\w\s.,&'’()|/@©-]|\. \w+ \w+ \w+")
_STAYS = frozenset("van von de der den di da la le el al of the and by for via all rights reserved".split())


def is_stock_phrase(words: Sequence[str]) -> bool:
    """Whether every word of a text (in lower case) is one that pages say of pictures, and one of them names such a thing."""
    if len(words) > 20 or not _STOCK.issuperset(word for word in words if not word.isdigit()):
        return False
    named = _NAMED.intersection(words)
    if len(words) == 1:
        return words[0] in _BUTTONS or bool(named - _THINGS)
    return bool(named)


def is_credit(text: str) -> bool:
    """Whether a text is a credit and nothing else: "Photo by Jane Doe", "© 2014 All rights reserved"."""
    match = _CREDIT.match(text) if len(text) <= 120 else None
    if match is None:
        return False
    names = _RESERVED.sub("", match.group(match.lastindex or 0))
    words = _WORDS.findall(names)
    if _NOT_NAMES.search(names):
        return False
    return 0 < len(words) <= 7 and all(not word[0].islower() or word in _STAYS | _FILLERS for word in words)

"""What VideoBERT says of itself, sentence by sentence."""

from __future__ import annotations

from dataclasses import replace

import torch

from pairloom.data.batch import Batch, Texts
from pairloom.data.feed import CodeFeed
from pairloom.data.records import Codes
from pairloom.objectives.masked import MaskedTokens
from pairloom.systems import videobert

PAPER = videobert


def test_bert_large_with_twelve_to_the_fourth_visual_words() -> None:
    c = videobert.Config()
    assert (c.codes, c.depth, c.width, c.heads) == (12**4, 24, 1024, 16)
    assert videobert.feed(c) == CodeFeed(20736, 64)
    with torch.device("meta"):
        system = videobert.System(replace(c, depth=1))
    assert system.visual.weight.shape == (20737, 1024)


@torch.no_grad()
def test_a_row_is_cls_text_turn_video_sep(system, batch) -> None:
    """The fourth text has one word and three visual words: [CLS] w [>] v v v [SEP] at positions 0 to 6, whatever the padding is."""
    read = []
    hook = system.stack.register_forward_hook(lambda _, inputs, __: read.append(inputs))
    system.match(batch)
    hook.remove()
    rows, seen = read[0][0][3], read[0][1][3, 0, 0]
    text, kinds = system.text, system.text.segments.weight
    place = text.positions.weight
    codes = batch.codes.ids[3, :3] + 1
    expected = torch.stack(
        [
            text.words.weight[videobert.TINY.cls] + place[0] + kinds[0],
            text.words.weight[batch.texts.ids[3, 1]] + place[1] + kinds[0],
            system.turn + place[2] + kinds[1],
            *(system.visual.weight[code] + place[3 + at] + kinds[1] for at, code in enumerate(codes)),
            text.words.weight[videobert.TINY.sep] + place[6] + kinds[1],
        ]
    )
    assert seen.sum() == 7
    torch.testing.assert_close(rows[seen], text.norm(expected))


@torch.no_grad()
def test_a_text_alone_and_a_video_alone_are_read_by_themselves(system, batch) -> None:
    calls = []
    hook = system.stack.register_forward_hook(lambda _, inputs, __: calls.append(inputs[0].shape[1]))
    losses = system.losses(batch)
    hook.remove()
    # 8 tokens; [CLS] [>] six visual words [SEP]; both
    assert calls == [8, 1 + 1 + 6 + 1, 8 + 1 + 6 + 1] and set(losses) == {"text", "video", "match"}
    other = replace(batch, codes=Codes(batch.codes.ids.flip(0), batch.codes.mask))
    torch.testing.assert_close(system.losses(other)["text"], losses["text"])
    spoken = replace(batch, texts=Texts(batch.texts.ids.flip(0), batch.texts.mask.flip(0)))
    torch.testing.assert_close(system.losses(spoken)["video"], losses["video"])


@torch.no_grad()
def test_a_hidden_visual_word_says_nothing(system, batch, monkeypatch) -> None:
    hidden = torch.zeros_like(batch.codes.mask)
    hidden[:, 0] = True
    monkeypatch.setattr(
        videobert, "mask_tokens", lambda ids, *_: MaskedTokens(ids.masked_fill(hidden, -1), hidden)
    )
    seen = []
    head = system.visual_head
    hook = head.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    system.losses(batch)
    ids = batch.codes.ids.clone()
    ids[:, 0] = (ids[:, 0] + 7) % 16
    system.losses(replace(batch, codes=Codes(ids, batch.codes.mask)))
    hook.remove()
    assert torch.equal(seen[0], seen[1]) and len(seen[0]) == 6


def test_the_sum_of_three_regimes_is_weighted(batch) -> None:
    torch.manual_seed(0)
    system = videobert.System(replace(videobert.TINY, text=2.0, video=0.5, match=0.0)).eval()
    torch.manual_seed(0)
    plain = videobert.System(videobert.TINY).eval()
    weighted, losses = system.losses(batch), plain.losses(batch)
    for name, weight in (("text", 2.0), ("video", 0.5), ("match", 0.0)):
        torch.testing.assert_close(weighted[name], weight * losses[name])


def test_pairs_are_subsampled_by_a_random_step_in_training(system, batch) -> None:
    lengths = set()
    system.train()
    for seed in range(20):
        codes = system._subsampled(batch.codes, torch.Generator().manual_seed(seed))
        step = 6 // codes.ids.shape[1]
        assert torch.equal(codes.ids, batch.codes.ids[:, ::step]) and codes.mask[:, 0].all()
        lengths.add(codes.ids.shape[1])
    system.eval()
    assert lengths == {6, 3} and system._subsampled(batch.codes, torch.Generator()) is batch.codes


def test_it_learns_what_belongs_together_for_videos_that_it_never_saw() -> None:
    """Four kinds of speech and video, whose visual words stand in orders that training has not: each true pair beats a wrong one."""
    torch.manual_seed(0)
    system = videobert.System(replace(videobert.TINY, subsample=0))
    kinds = torch.arange(4)
    said = Texts.unpadded(torch.stack([torch.full_like(kinds, 2), 10 + kinds, 20 + kinds], 1))

    def shown(*order: int) -> Codes:
        return Codes(4 * kinds[:, None] + torch.tensor(order), torch.ones(4, len(order), dtype=torch.bool))

    orders = [(0, 1, 2), (1, 2, 3), (2, 3, 0), (3, 0, 1)]
    codes = Codes(torch.cat([shown(*one).ids for one in orders]), torch.ones(16, 3, dtype=torch.bool))
    batch = Batch(texts=said[kinds.repeat(4)], codes=codes, image_ids=kinds.repeat(4))
    optimiser = torch.optim.Adam(system.parameters(), 3e-3)
    for _ in range(150):
        optimiser.zero_grad()
        sum(system.losses(batch).values()).backward()
        optimiser.step()
    system.eval()
    with torch.no_grad():
        for turn in range(1, 4):
            held = Batch(texts=said, codes=shown(3, 2, 1))
            true, wrong = system.match(held), system.match(replace(held, codes=held.codes[kinds.roll(turn)]))
            assert (true > wrong).all()

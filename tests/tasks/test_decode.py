"""Decode with a writer whose every probability is known: a table of what follows what."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

import pytest
import torch

from pairloom.data.batch import Batch, Texts
from pairloom.systems import blip
from pairloom.tasks.decode import Writing, Written, decode, nucleus

LAST, FIRST, WORDS = 0, 1, 6


@dataclass
class Row:
    """Which picture each row is of."""

    pictures: torch.Tensor

    def __len__(self) -> int:
        return len(self.pictures)

    def expand(self, times: int) -> Row:
        return Row(self.pictures.repeat_interleave(times))

    def select(self, rows: torch.Tensor) -> Row:
        return Row(self.pictures[rows])


class Table:
    """P(next | picture, token) [I V V]. Counts the rows it was asked about."""

    first_token, last_token = FIRST, LAST

    def __init__(self, chances: torch.Tensor) -> None:
        self.chances, self.asked = chances / chances.sum(-1, keepdim=True), []

    def start(self, batch: Batch) -> Row:
        return Row(batch.images[:, 0, 0, 0, 0].long())

    def step(self, state: Row, tokens: torch.Tensor) -> tuple[torch.Tensor, Row]:
        self.asked.append(len(tokens))
        return self.chances[state.pictures, tokens].log(), state

    def logits(self, batch: Batch) -> torch.Tensor:
        raise NotImplementedError("decode asks for steps")


def pictures(*which: int) -> Batch:
    return Batch(images=torch.tensor(which).float().view(-1, 1, 1, 1, 1))


def table(rows: dict[int, dict[int, float]]) -> torch.Tensor:
    """One picture; what is not said is (nearly) impossible, and a word nobody mentions ends the text."""
    chances = torch.full((WORDS, WORDS), 1e-12)
    chances[:, LAST] = 1.0
    for before, after in rows.items():
        chances[before] = 1e-12
        for token, chance in after.items():
            chances[before, token] = chance
    return chances


def likelihood(writer: Table, picture: int, tokens: tuple[int, ...], ended: bool) -> float:
    path = (FIRST, *tokens, *([LAST] if ended else []))
    return sum(float(writer.chances[picture, one, two].log()) for one, two in itertools.pairwise(path))


# greedy takes 2 (.6) and ends at .6 * .4 = .24; the best text is 3, then 4, of .4 * .9 = .36
GARDEN = table(
    {FIRST: {2: 0.6, 3: 0.4}, 2: {4: 0.3, 5: 0.3, LAST: 0.4}, 3: {4: 0.9, LAST: 0.1}, 4: {LAST: 1.0}}
)
FREE = Writing(min_length=0, max_length=6, length_penalty=0.0)


def random_table(seed: int, copies: int = 3) -> torch.Tensor:
    return torch.rand(copies, WORDS, WORDS, generator=torch.Generator().manual_seed(seed)) ** 3 + 1e-3


def test_greedy_follows_the_likeliest_token():
    ((text,),) = decode(Table(GARDEN[None]), pictures(0), replace(FREE, way="greedy"))
    assert text == Written((2,), True, text.log_probability, 2)
    assert text.log_probability == pytest.approx(math.log(0.6 * 0.4), abs=1e-5)
    assert text.mean == pytest.approx(math.log(0.24) / 2, abs=1e-5)


def test_beams_find_what_greedy_misses():
    made = decode(Table(GARDEN[None]), pictures(0), replace(FREE, several=3))
    assert [text.tokens for text in made[0]] == [(3, 4), (2,), (2, 4)]
    chances = [0.36, 0.24, 0.18]
    assert [text.log_probability for text in made[0]] == pytest.approx(
        [math.log(p) for p in chances], abs=1e-5
    )


@pytest.mark.parametrize("seed", range(4))
def test_wide_beams_find_the_best_of_all_texts(seed):
    """Against every text that there is of up to four tokens."""
    writer, length = Table(random_table(seed)), 5
    made = decode(writer, pictures(2), replace(FREE, max_length=length, beams=600))
    texts = {}
    for steps in range(length):
        for tokens in itertools.product(range(1, WORDS), repeat=steps):
            if steps < length - 1:
                texts[tokens, True] = likelihood(writer, 2, tokens, True)
            else:
                texts[tokens, False] = likelihood(writer, 2, tokens, False)
    best = max(texts, key=texts.__getitem__)
    assert (made[0][0].tokens, made[0][0].ended) == best
    assert made[0][0].log_probability == pytest.approx(texts[best], abs=1e-4)


def test_length_penalty_chooses_between_short_and_long():
    """Sums favour the short text (.3 to .25), means the long one of four steps."""
    chances = table(
        {FIRST: {2: 0.3, 3: 0.7}, 2: {LAST: 1.0}, 3: {4: 0.36, 5: 0.64}, 4: {5: 1.0}, 5: {3: 1.0}}
    )
    chances[5] = table({5: {LAST: 0.5, 2: 0.5}})[5]
    sums = decode(Table(chances[None]), pictures(0), replace(FREE, length_penalty=0.0))[0][0]
    means = decode(Table(chances[None]), pictures(0), replace(FREE, length_penalty=2.0))[0][0]
    assert sums.tokens == (2,) and len(means.tokens) > 2


def released_beams(writer: Table, prompt: tuple[int, ...], beams: int, longest: int, power: float) -> float:
    """The score of the best text by the released rule, written out for one picture: a text's sum over the number of all its
    tokens but the end; a picture is finished when the best candidate of a step cannot replace the worst of K texts."""
    log = writer.chances[0].log().float()
    running: list[tuple[float, tuple[int, ...]]] = [(0.0, (FIRST, *prompt))]
    done: list[tuple[float, tuple[int, ...]]] = []

    def add(total: float, text: tuple[int, ...]) -> None:
        done.append((total / len(text) ** power, text))
        done.sort(key=lambda one: -one[0])
        del done[beams:]

    for length in range(1 + len(prompt), longest):
        every = [
            (total + float(log[text[-1], token]), text, token)
            for total, text in running
            for token in range(WORDS)
        ]
        every = sorted(every, key=lambda one: -one[0])[: 2 * beams]
        for rank, (total, text, token) in enumerate(every):
            if token == LAST and rank < beams:
                add(total, text)
        running = [(total, (*text, token)) for total, text, token in every if token != LAST][:beams]
        if len(done) == beams and done[-1][0] >= every[0][0] / (length + 1) ** power:
            break
    else:
        for total, text in running:
            add(total, text)
    return done[0][0]


@pytest.mark.parametrize("power", [1.0, 0.5, 2.0])
def test_released_length_rule_is_that_of_the_published_captions(power):
    """Against the rule written out, on random tables; the two rules differ where a prompt stands before the texts."""
    differ = 0
    for seed in range(60):
        generator = torch.Generator().manual_seed(seed)
        chances = torch.rand(1, WORDS, WORDS, generator=generator) ** 3
        chances[:, :, LAST] *= 0.4
        writer = Table(chances)
        prompt, beams, longest = ((2, 3, 4), 3, 9) if seed % 2 else ((), 2, 7)
        writing = Writing("beam", beams, longest, 1, power)
        (old,) = decode(writer, pictures(0), replace(writing, length_rule="released"), prompt)
        count = 1 + len(prompt) + len(old[0].tokens)
        assert old[0].log_probability / count**power == pytest.approx(
            released_beams(writer, prompt, beams, longest, power), rel=1e-5
        ), seed
        (new,) = decode(writer, pictures(0), writing, prompt)
        differ += new[0].tokens != old[0].tokens
    assert differ


@pytest.mark.parametrize("way", ["greedy", "beam", "nucleus"])
def test_lengths_count_the_first_token_and_the_prompt(way):
    writer = Table(table({FIRST: {2: 1.0}, 2: {2: 0.1, LAST: 0.9}})[None])
    writing = Writing(way=way, min_length=6, max_length=9)
    (row,) = decode(writer, pictures(0), writing, prompt=(2, 2), seeds=[1])[0]
    assert (
        row.tokens == (2,) * 3 and row.ended
    )  # [first] 2 2 | 2 2 2 [last]: the end came as soon as it might
    stubborn = Table(table({FIRST: {2: 1.0}, 2: {2: 1.0}})[None])
    (row,) = decode(stubborn, pictures(0), writing, prompt=(2, 2), seeds=[1])[0]
    assert row.tokens == (2,) * 6 and not row.ended and row.steps == 6


def test_no_room_and_no_seeds_are_told():
    writer = Table(GARDEN[None])
    with pytest.raises(ValueError, match="nothing to write"):
        decode(writer, pictures(0), Writing(max_length=3), prompt=(2, 2))
    with pytest.raises(ValueError, match="one seed for each of the 1 pictures"):
        decode(writer, pictures(0), Writing(way="nucleus"))
    with pytest.raises(ValueError, match="raise beams"):
        Writing(beams=2, several=3)
    with pytest.raises(ValueError, match="at least 1"):
        Writing(top_p=0.0)


def test_repetition_costs():
    chances = table({FIRST: {2: 1.0}, 2: {2: 0.5, 3: 0.4, LAST: 0.1}, 3: {LAST: 1.0}})
    plain = decode(Table(chances[None]), pictures(0), replace(FREE, way="greedy"))[0][0]
    varied = decode(Table(chances[None]), pictures(0), replace(FREE, way="greedy", repetition_penalty=1.5))[
        0
    ][0]
    assert plain.tokens == (2, 2, 2, 2, 2) and varied.tokens == (2, 3)
    assert varied.log_probability == pytest.approx(
        math.log(0.4), abs=1e-5
    )  # as the writer gave it, unpunished


def test_nucleus_keeps_the_fewest_that_reach_p():
    chances = torch.tensor([[0.5, 0.1, 0.25, 0.15]])
    for top_p, top_k, expected in (
        (0.5, 0, [1.0]),
        (0.6, 0, [2 / 3, 1 / 3]),
        (1.0, 3, [0.5 / 0.9, 0.25 / 0.9, 0.15 / 0.9]),
    ):
        kept, tokens = nucleus(chances.log(), Writing(way="nucleus", top_p=top_p, top_k=top_k))
        assert kept[kept > 0].tolist() == pytest.approx(expected)
        assert tokens[0, : len(expected)].tolist() == [0, 2, 3][: len(expected)]
    cold, _ = nucleus(chances.log(), Writing(way="nucleus", top_p=1.0, temperature=0.5))
    assert cold[0].tolist() == pytest.approx(
        sorted((chances[0] ** 2 / (chances**2).sum()).tolist(), reverse=True)
    )


def test_draws_follow_the_chances():
    """3,000 first words against their probabilities, within four standard errors."""
    chances = table({FIRST: {2: 0.5, 3: 0.3, 4: 0.2}})
    writing = Writing(way="nucleus", top_p=1.0, min_length=0, max_length=4, several=3000)
    made = decode(Table(chances[None]), pictures(0), writing, seeds=[5])[0]
    for word, chance in ((2, 0.5), (3, 0.3), (4, 0.2)):
        share = sum(text.tokens == (word,) for text in made) / 3000
        assert abs(share - chance) < 4 * (chance * (1 - chance) / 3000) ** 0.5


def test_what_is_drawn_for_a_picture_depends_on_its_seed_alone():
    writer, writing = Table(random_table(7)), Writing(way="nucleus", top_p=0.95, max_length=12, several=2)
    together = decode(writer, pictures(0, 1, 2, 1), writing, seeds=[3, 4, 5, 6])
    assert decode(writer, pictures(1), writing, seeds=[4])[0] == together[1]
    assert decode(writer, pictures(1, 2, 0), writing, seeds=[6, 5, 3]) == [
        together[3],
        together[2],
        together[0],
    ]
    assert together[1] != together[3] and together[0][0] != together[0][1]


@pytest.mark.parametrize("way", ["greedy", "beam"])
def test_a_picture_gets_the_same_text_in_any_company(way):
    writer, writing = Table(random_table(8)), Writing(way=way, max_length=9)
    together = decode(writer, pictures(0, 1, 2), writing)
    assert [decode(writer, pictures(which), writing)[0] for which in range(3)] == together


@pytest.mark.parametrize("way, rows", [("greedy", 1), ("beam", 3)])
def test_finished_pictures_leave(way, rows):
    """Picture 0 ends at once, picture 1 never: from then on the writer is asked about one picture."""
    short, long = (
        table({FIRST: {LAST: 1.0}}),
        table({FIRST: {2: 1.0}, 2: {2: 0.5, 3: 0.5}, 3: {2: 0.5, 3: 0.5}}),
    )
    writer = Table(torch.stack([short, long]))
    made = decode(writer, pictures(0, 1), Writing(way=way, min_length=0, max_length=8))
    assert made[0][0].tokens == () and made[0][0].ended and len(made[1][0].tokens) == 7
    assert writer.asked[0] == 2 and writer.asked[-1] == rows and writer.asked.count(rows) >= 4


def test_blip_writes_the_same_cached_as_teacher_forced():
    """Each word that greedy chose is the likeliest after the words before it, for pictures that end at different times."""
    torch.manual_seed(0)
    system = blip.System(blip.TINY).eval()
    with torch.no_grad():
        for parameter in system.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
        system.head.bias[system.last_token] += 4.0
    images = torch.randn(6, 1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    made = decode(system, Batch(images=images), Writing(way="greedy", min_length=0, max_length=10))
    assert len({text.steps for (text,) in made}) > 1
    for picture, (text,) in enumerate(made):
        tokens = torch.tensor([[system.first_token, *text.tokens]])
        with torch.no_grad():
            said = system.logits(Batch(images=images[[picture]], texts=Texts.unpadded(tokens))).log_softmax(
                -1
            )[0]
        chosen = [*text.tokens, *([system.last_token] if text.ended else [])]
        assert said.argmax(-1).tolist()[: len(chosen)] == chosen
        assert text.log_probability == pytest.approx(float(said[range(len(chosen)), chosen].sum()), abs=1e-4)


def test_blip_draws_the_same_text_in_any_company():
    torch.manual_seed(0)
    system = blip.System(blip.TINY).eval()
    images = torch.randn(4, 1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    writing = Writing(way="nucleus", max_length=8, several=2)
    together = decode(system, Batch(images=images), writing, seeds=[1, 2, 3, 4])
    alone = decode(system, Batch(images=images[[2]]), writing, seeds=[3])[0]
    assert [text.tokens for text in alone] == [text.tokens for text in together[2]]
    told = Batch(images=images, image_of=torch.tensor([2, 0]))
    rows = decode(system, told, writing, seeds=[3, 1])
    assert [[text.tokens for text in row] for row in rows] == [
        [text.tokens for text in together[which]] for which in (2, 0)
    ]

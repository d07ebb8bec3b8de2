"""Abilities: what a system can be asked, as the system itself declares it, and the methods that each ability needs.

No base class. A system declares `abilities` (what its weights were trained for) and `trains_on` (which kinds of sets teach
it), and has the methods of the Protocols that `KINDS` names for these abilities. Tasks, commands and benchmarks read the
declaration through `able`, `demand` and `ways`; nobody looks at loss weights, at classes or at private names.

B texts, I pictures, N pictures of an example, T tokens, E shared embedding, V vocabulary, A answers of a list, L codes of a
picture, K codebook, C Y X channels and sides of a latent, H W sides of a picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Bool, Float, Int
from torch import Tensor

from pairloom.abilities import CAPTION, DENOISE, DRAW, EMBED, MATCH, Ability, Progress
from pairloom.data.batch import Batch
from pairloom.errors import Mistake

__all__ = [
    "CAPTION", "DENOISE", "DRAW", "EMBED", "MATCH", "Ability", "Progress", "able", "demand", "demand_way", "ways",
]  # fmt: skip


@runtime_checkable
class Declares(Protocol):
    """Declares what it can be asked."""

    @property
    def abilities(self) -> tuple[Ability, ...]:
        """A class attribute, or a property of what the config says was trained."""
        ...


# training


@runtime_checkable
class Learns(Protocol):
    """Can be trained, by one optimiser: see LearnsInTurns for several.

    trains_on: kinds of sets (files of pairloom.data.datasets), the usual one first.
    """

    @property
    def trains_on(self) -> tuple[str, ...]: ...

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Weighted scalars by name; the training loop minimises their sum."""
        ...


@runtime_checkable
class LearnsInTurns(Protocol):
    """Can be trained by several optimisers, as adversarial networks are.

    turns: name -> prefixes of the parameters that this turn moves, in the order in which every optimiser step takes them.
    What other turns move requires no gradient meanwhile. Every turn of a step begins with the same random state, so noise
    that is drawn first is the same in all.

    A system whose parts are trained one after the other (first the codes of pictures, then what writes them) names its
    turns too, and in `parts` (name -> turns) which of them are trained together. An earlier part is trained before a later
    one and stays as it is from then on. Training is asked for "SYSTEM:PART".
    """

    turns: Mapping[str, tuple[str, ...]]

    def losses(self, batch: Batch, turn: str) -> dict[str, Tensor]:
        """Weighted scalars of one turn by name."""
        ...


def turns_of(system: Any) -> Mapping[str, tuple[str, ...]]:
    """Turn -> prefixes of the parameters that it moves; one turn "" that moves all where a system declares none."""
    return getattr(system, "turns", None) or {"": ("",)}


def parts_of(system: Any) -> Mapping[str, tuple[str, ...]]:
    """Part -> its turns, in the order of training; one part "" of all turns where a system declares none."""
    return getattr(system, "parts", None) or {"": tuple(turns_of(system))}


def prompt_of(system: Any) -> tuple[int, ...]:
    """Token ids with which every text of a writer begins, after its first token: the `prompt_ids` of its Config, or none."""
    return getattr(getattr(system, "config", None), "prompt_ids", ())


def losses_of(system: Any, batch: Batch, turn: str = "") -> dict[str, Tensor]:
    """The losses of one turn; "" is the only one of a system that declares none."""
    losses: dict[str, Tensor] = system.losses(batch, turn) if turn else system.losses(batch)
    return losses


@runtime_checkable
class Compares(Protocol):
    """Contrastive losses that can be computed a chunk at a time.

    Where `compares` is true, `losses(batch)` is `compare(batch, embed_image(batch), embed_text(batch))` and nothing else.
    """

    @property
    def compares(self) -> bool: ...

    def embed_image(self, batch: Batch) -> Float[Tensor, "I E"]:
        """As of Embeds."""
        ...

    def embed_text(self, batch: Batch) -> Float[Tensor, "B E"]:
        """As of Embeds."""
        ...

    def compare(
        self, batch: Batch, image: Float[Tensor, "I E"], text: Float[Tensor, "B E"]
    ) -> dict[str, Tensor]:
        """The losses, from embeddings that were computed before."""
        ...


@runtime_checkable
class Remembers(Protocol):
    """Keeps training state beside its parameters (momentum copies, queues).

    training_state: prefixes of the parameters and buffers that an export drops.
    """

    training_state: tuple[str, ...]

    def begin(self, progress: Progress) -> None:
        """Called before each optimiser step."""
        ...


@runtime_checkable
class Clusters(Protocol):
    """Makes codes of features by clusters, which are learned before the first step; `clusters` is None where codes are handed in."""

    clusters: Any

    def fit_clusters(self, vectors: Float[Tensor, "n F"], seed: int) -> None:
        """Learn them from vectors of the set."""
        ...


# reading pictures and texts


@runtime_checkable
class Sees(Protocol):
    """Image encoder that runs apart from the texts, once for all of them."""

    def encode_image(self, batch: Batch) -> Batch:
        """The batch with `encoded` filled from `images` [I N 3 H W]; every other method then reads that alone."""
        ...


@runtime_checkable
class ReadsTexts(Protocol):
    """Match head behind a text encoder that runs apart from the pictures, once for each text."""

    def encode_texts(self, batch: Batch) -> Batch:
        """The batch with `encoded_text` [B T D], row for row; `match` then reads that and the texts' mask."""
        ...


@runtime_checkable
class Embeds(Protocol):
    """Dual encoder: pictures and texts in one space. Ability "embed"."""

    def embed_image(self, batch: Batch) -> Float[Tensor, "I E"]:
        """L2-normalised, one row for each example's pictures."""
        ...

    def embed_text(self, batch: Batch) -> Float[Tensor, "B E"]:
        """L2-normalised; pictures are not read."""
        ...


@runtime_checkable
class Similar(Protocol):
    """Dual encoder with several vectors for a picture, so that one product gives no score. Ability "similarity"."""

    def similarity(self, batch: Batch) -> Float[Tensor, " B"]:
        """Cosine of each text with that vector of its picture which is nearest to it. `image_of` as in Matches."""
        ...


@runtime_checkable
class Matches(Protocol):
    """Classifier of pairs: does the text belong to its pictures, is the statement true, the answer right?

    Abilities "match", "reason" and "dialog"; what a text is, the ability says.
    """

    def match(self, batch: Batch) -> Float[Tensor, " B"]:
        """Log-odds of yes. `image_of` [B] says which picture each text is about."""
        ...


@runtime_checkable
class MatchesInTwo(Protocol):
    """Match head whose two logits can be had: published protocols rank by the second alone."""

    def match_logits(self, batch: Batch) -> Float[Tensor, "B 2"]:
        """Class 0: does not belong; class 1: belongs."""
        ...


@runtime_checkable
class Chooses(Protocol):
    """Classifier over a list of answers that belongs to the model. Ability "choose".

    `config.answers` is how many there are, `config.answer_list` their texts, empty where nobody said them.
    """

    def answer_logits(self, batch: Batch) -> Float[Tensor, "B A"]:
        """Scores of the answers to the questions, which are the batch's texts. `image_of` [B]: the picture of each."""
        ...


# writing


@runtime_checkable
class State(Protocol):
    """What a writer carries between steps. Rows are beams; what is read of a picture is held once per picture."""

    def __len__(self) -> int:
        """How many rows."""
        ...

    def expand(self, times: int) -> State:
        """Every row `times` over, neighbours together: [B] -> [B * times]."""
        ...

    def select(self, rows: Int[Tensor, " M"]) -> State:
        """These rows, in this order: reorders beams, drops finished pictures."""
        ...


@runtime_checkable
class HasAttention(Protocol):
    """A writer's State that knows where its last step attended."""

    @property
    def attention(self) -> Tensor | None:
        """Shares [B P] of the cells of the picture (a square grid, row by row); None before the first step."""
        ...


@runtime_checkable
class Writes(Protocol):
    """Autoregressive decoder of texts. Abilities "caption" and "answer" (after the batch's question).

    first_token: the token to feed first. last_token: the one that ends a text.
    """

    first_token: int
    last_token: int

    def start(self, batch: Batch) -> Any:
        """The State [B] before the first token; reads pictures and questions, and none of the batch's tokens."""
        ...

    def step(self, state: Any, tokens: Int[Tensor, " B"]) -> tuple[Float[Tensor, "B V"], Any]:
        """Logits of the next token after these, and the new State."""
        ...

    def logits(self, batch: Batch) -> Float[Tensor, "B T V"]:
        """Teacher-forced: position t has read tokens[:, :t + 1], and equals what `step` gives there."""
        ...


@runtime_checkable
class Reads(Protocol):
    """Decoder that takes a whole prompt in one pass. With Interleaves and Writes: ability "prompt"."""

    def read(self, state: Any, tokens: Int[Tensor, "B T"]) -> tuple[Float[Tensor, "B V"], Any]:
        """What T calls of `step` give after the last."""
        ...


@runtime_checkable
class Interleaves(Protocol):
    """Reads texts with pictures between their words."""

    def arrange(self, batch: Batch, shows: Int[Tensor, "B N"]) -> Batch:
        """Rows that show these pictures of an encoded batch, in this order; none is encoded again."""
        ...

    def embed_image(self, batch: Batch) -> Float[Tensor, "I E"]:
        """L2-normalised, for finding pictures alike."""
        ...


@runtime_checkable
class WritesCodes(Protocol):
    """Autoregressive model of image codes: a picture as L numbers below K. Ability "write_codes".

    code_length: L. codebook_size: K. Such a system draws; it is never asked for a caption, nor by `Writes`.
    """

    @property
    def code_length(self) -> int: ...

    @property
    def codebook_size(self) -> int: ...

    def start_codes(self, batch: Batch) -> tuple[Float[Tensor, "B K"], Any]:
        """After the texts: logits of the first code, and the State [B]."""
        ...

    def step_codes(self, state: Any, codes: Int[Tensor, " B"]) -> tuple[Float[Tensor, "B K"], Any]:
        """Logits of the next code after these, and the new State."""
        ...

    def code_logits(self, batch: Batch) -> Float[Tensor, "B L K"]:
        """Teacher-forced on the batch's codes: position l has read the text and the codes before l."""
        ...

    def decode_codes(self, codes: Int[Tensor, "B L"]) -> Float[Tensor, "B 3 H W"]:
        """The pictures in [-1, 1] that these codes stand for."""
        ...


# drawing


@runtime_checkable
class Draws(Protocol):
    """Text-to-image generator. Ability "draw"."""

    def draw(
        self, batch: Batch, *, seeds: Sequence[int] | None = None, **options: Any
    ) -> Float[Tensor, "B 3 H W"]:
        """Pictures in [-1, 1], one for each text. seeds: one for each row, which depends on its own alone.

        options: keywords of the system's own signature (steps, guidance). rows: how many rows of the codes of the batch's pictures are
        kept, for a system with a codebook that completes pictures.
        """
        ...


@runtime_checkable
class Conditioning(Protocol):
    """What a denoiser reads of texts [B]."""

    def rows(self, which: Int[Tensor, " M"]) -> Conditioning:
        """These texts, in this order."""
        ...

    def concatenated(self, others: Sequence[Any]) -> Conditioning:
        """These texts, then those of the others."""
        ...


@runtime_checkable
class Denoises(Protocol):
    """Diffusion model that reads texts. Ability "denoise".

    latent: (C, Y, X) of what is noised. times: how many noise levels there are, t = 0 the least.
    """

    @property
    def latent(self) -> tuple[int, int, int]: ...

    @property
    def times(self) -> int: ...

    def encode_text(self, tokens: Int[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Any:
        """The TextConditioning of these texts (mask: True = real)."""
        ...

    def empty_text(self, rows: int) -> Any:
        """The TextConditioning of the empty text, for so many rows."""
        ...

    def posterior(
        self, images: Float[Tensor, "I 3 H W"]
    ) -> tuple[Float[Tensor, "I C Y X"], Float[Tensor, "I C Y X"] | None]:
        """Mean and standard deviation of the latents of pictures in [-1, 1]; None where the encoder is deterministic."""
        ...

    def residual(
        self,
        latents: Float[Tensor, "B C Y X"],
        t: Int[Tensor, " B"],
        noise: Float[Tensor, "B C Y X"],
        text: Any,
    ) -> Float[Tensor, "B C Y X"]:
        """The noise less the noise that is predicted from the noised latents and the text."""
        ...

    def denoising_error(
        self, batch: Batch, t: Int[Tensor, " B"], noise: Float[Tensor, "B C Y X"]
    ) -> Float[Tensor, " B"]:
        """Mean squared residual of each text with its picture."""
        ...


# the declaration and its readers


class Kind(NamedTuple):
    """needs: the Protocols that a system with this ability fulfils. can: what it can be asked, after "It can". command:
    the command line that asks it."""

    needs: tuple[Any, ...]
    can: str
    command: str


KINDS: dict[str, Kind] = {
    "match": Kind((Matches,), "match texts with a picture", 'match PICTURE "A TEXT"'),
    "embed": Kind((Embeds,), "embed pictures and texts", "embed PAIRS --out FILE"),
    "similarity": Kind((Similar,), "compare texts with the parts of a picture", 'match PICTURE "A TEXT"'),
    "caption": Kind((Writes,), "write captions", "caption PICTURES"),
    "answer": Kind((Writes,), "answer questions about a picture", 'ask PICTURE "A QUESTION?"'),
    "choose": Kind((Chooses,), "choose answers from its list", 'ask PICTURE "A QUESTION?"'),
    "reason": Kind((Matches,), "judge statements about pictures", 'reason PICTURE ... "A STATEMENT."'),
    "dialog": Kind((Matches,), "follow a dialog about a picture", 'dialog PICTURE "A QUESTION?" --candidates ...'),
    "prompt": Kind(
        (Interleaves, Reads, Writes), "be prompted with examples", "prompt PICTURES --examples PAIRS"
    ),
    "draw": Kind((Draws,), "draw", 'draw "A TEXT" --out DIR'),
    "denoise": Kind((Denoises,), "score pairs by denoising", 'match PICTURE "A TEXT"'),
    "write_codes": Kind((WritesCodes,), "write image codes", 'draw "A TEXT" --out DIR'),
}  # fmt: skip
SCORES = (
    "match",
    "embed",
    "similarity",
    "caption",
    "denoise",
)  # abilities that score a picture with a caption, best first


def able(system: Declares, name: str) -> Ability | None:
    """The ability of this name, where the system declares it."""
    return next((one for one in system.abilities if one.name == name), None)


def demand(system: Declares, name: str) -> Ability:
    """The ability of this name. Mistake that says what the system can do instead, and by which commands."""
    ability = able(system, name)
    if ability is None:
        raise _refusal(system, KINDS[name].can)
    return ability


def ways(system: Declares) -> list[str]:
    """How the system can score a picture with a caption: the `by` of its abilities, best first."""
    scoring = (able(system, name) for name in SCORES)
    return [one.by for one in scoring if one is not None]


def demand_way(system: Declares, by: str | None = None) -> str:
    """A way of `ways`: the best one, or the one that `by` names, in full or by its first word ("match").

    Mistake where the system cannot score pairs, or not in that way.
    """
    known = ways(system)
    if not known:
        raise _refusal(system, "score how well a picture and a caption belong together")
    if not by:
        return known[0]
    for way in known:
        if by in (way, way.split()[0]):
            return way
    raise Mistake(
        f"A {name_of(system)} cannot score by {by}.",
        f"This one can by {' and by '.join(known)}.",
        "Take one of these, or leave it out for the first.",
    )


def name_of(system: object) -> str:
    """The name of a system: the one that it states, else that of the file that defines it."""
    stated: str | None = vars(type(system)).get("name")
    return stated or type(system).__module__.rpartition(".")[2]


def _refusal(system: Declares, wanted: str) -> Mistake:
    kinds = [KINDS[one.name] for one in system.abilities]
    return Mistake(
        f"This {name_of(system)} cannot {wanted}.",
        f"It can {', and '.join(kind.can for kind in kinds)}."
        if kinds
        else "It was trained for nothing that can be asked.",
        "Try: " + "; or ".join(dict.fromkeys(f"pairloom {kind.command} --model MODEL" for kind in kinds))
        if kinds
        else "pairloom systems lists what each system can do.",
    )

"""Samplers of diffusion models: the noise schedules of diffusers, and the loop that removes noise step by step.

What latent diffusion and DALL-E 2 draw with, and what DiffusionITM takes its noise levels from. Ancestral (DDPM) and implicit (DDIM)
samplers, learned and fixed variances are those of diffusers' schedulers, which a config names.

B rows, ... the sides of what is drawn.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from pairloom.errors import Mistake
from pairloom.objectives.denoise import guessed_noise, noised, target, variance_bound
from pairloom.systems import _diffusion_text as texts

# it begins below the last timestep, where nothing may be left of what was inverted
IMPLICIT = {"_class_name": "DDIMScheduler", "timestep_spacing": "leading"}
Predict = Callable[[Tensor, Tensor], Tensor]  # (noisy [B ...], t [B]) -> output of the network


def scheduler_of(settings: Mapping[str, Any]) -> Any:
    """A new scheduler of diffusers for settings by its own names. Mistake for a name that is no scheduler."""
    texts.needs("diffusers")
    import diffusers

    kind = str(settings["_class_name"])
    if not kind.endswith("Scheduler") or not hasattr(diffusers, kind):
        raise Mistake(f"diffusers has no scheduler '{kind}'.", "", "Name one of its schedulers.")
    maker = getattr(diffusers, kind)
    try:
        scheduler = maker(**{name: value for name, value in settings.items() if name in _keywords(maker)})
    except ImportError as error:
        raise Mistake(
            f"The scheduler {kind} needs a package.", str(error).split("\n")[0], "Install it."
        ) from error
    if not hasattr(scheduler, "alphas_cumprod"):
        why = "Its noise is not that of a discrete diffusion (flow matching, EDM), which is what is built."
        raise Mistake(
            f"The scheduler {kind} is not supported.", why, "Give a pipeline with another scheduler."
        )
    return scheduler


class Diffusion:
    """Gaussian diffusion by a schedule of noise: what a network learns, and how what it has learnt is sampled.

    settings: of a scheduler of diffusers. shares [T]: share of the variance that is left at each timestep ("alpha bar").
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = settings
        with torch.device("cpu"):
            self.shares: Tensor = scheduler_of(settings).alphas_cumprod.float()
        self.times = len(self.shares)

    @property
    def prediction(self) -> Any:
        """Kind of the network's output: "epsilon", "v_prediction" or "sample"."""
        return self.settings.get("prediction_type", "epsilon")

    def residual(
        self,
        clean: Float[Tensor, "B ..."],
        t: Int[Tensor, " B"],
        noise: Float[Tensor, "B ..."],
        predict: Predict,
    ) -> Float[Tensor, "B ..."]:
        """The noise minus its estimate by the network from the noised rows, in 32 bits."""
        share = self.shares.to(clean.device)[t]
        noisy = noised(clean.float(), noise.float(), share)
        output = predict(noisy, t)[:, : clean.shape[1]]
        return noise - guessed_noise(output, noisy, share, self.prediction)

    def losses(
        self, clean: Float[Tensor, "B ..."], generator: torch.Generator, predict: Predict
    ) -> dict[str, Tensor]:
        """Squared error of what the network predicts at random timesteps; where it has twice the channels also the bound of its variance,
        which counts a thousandth of the sum over all timesteps (Nichol and Dhariwal, 2021, section 3.1)."""
        t = torch.randint(self.times, (len(clean),), generator=generator)
        noise = torch.randn(clean.shape, generator=generator).to(clean.device)
        t, share, channels = t.to(clean.device), self.shares[t].to(clean.device), clean.shape[1]
        noisy = noised(clean, noise, share)
        output = predict(noisy, t)
        estimate = output[:, :channels]
        values = {"denoise": F.mse_loss(estimate, target(clean, noise, share, self.prediction))}
        if output.shape[1] == 2 * channels:
            bound = variance_bound(
                clean, noisy, estimate, output[:, channels:], t, self.shares.to(clean.device)
            )
            values["variance"] = self.times / 1000 * bound
        return values

    def sample(
        self,
        steps: int,
        start: Float[Tensor, "B ..."],
        predict: Predict,
        chances: Sequence[torch.Generator],
        eta: float | None = None,
    ) -> Float[Tensor, "B ..."]:
        """Remove noise from `start` in so many steps. predict(noisy, t) is the network with its guidance.

        chances: of the noise that each row gets on the way. eta: with it the implicit sampler (DDIM) takes the place of the schedule's own;
        0: nothing is random, 1: as much as in the ancestral one.
        """
        plan = scheduler_of(self.settings if eta is None else {**self.settings, **IMPLICIT})
        known = _keywords(plan.step)
        if "prev_timestep" in known and steps < 2:
            raise Mistake(
                "This sampler cannot draw in one step.", "Its steps span the timesteps.", "Ask for 2."
            )
        plan.set_timesteps(steps, device=start.device)
        options: dict[str, Any] = {"generator": list(chances), "eta": eta or 0.0}
        options = {name: value for name, value in options.items() if name in known}
        x = start * plan.init_noise_sigma
        for at, t in enumerate(plan.timesteps):
            noisy = plan.scale_model_input(x, t)
            if "prev_timestep" in known:
                options["prev_timestep"] = plan.timesteps[at + 1] if at + 1 < len(plan.timesteps) else None
            output = predict(noisy, t.to(x.device).expand(len(x)))
            output = output if eta is None else output[:, : x.shape[1]]
            x = plan.step(output, t, x, **options).prev_sample
        return x

    def inverted(self, steps: int, clean: Float[Tensor, "B ..."], predict: Predict) -> Float[Tensor, "B ..."]:
        """The noise from which the implicit sampler draws `clean` (DDIM inversion, Song et al., 2020, section 4.3)."""
        own = {**IMPLICIT, "_class_name": "DDIMInverseScheduler", "clip_sample": False}
        plan = scheduler_of({**self.settings, **own})
        plan.set_timesteps(steps, device=clean.device)
        x = clean
        for t in plan.timesteps:
            output = predict(x, t.to(x.device).expand(len(x)))[:, : x.shape[1]]
            x = plan.step(output, t, x).prev_sample
        return x


def generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """Random numbers of each row, on the CPU, so that a picture is the same on every device and beside any others."""
    return [torch.Generator().manual_seed(int(seed)) for seed in seeds]


def noise_like(
    shape: Sequence[int], chances: Sequence[torch.Generator], device: Any
) -> Float[Tensor, "B ..."]:
    """Normal noise of this shape for each row."""
    return torch.stack([torch.randn(tuple(shape), generator=chance) for chance in chances]).to(device)


def guided(
    output: Float[Tensor, "B C ..."], empty: Float[Tensor, "B C ..."], scale: float, channels: int
) -> Tensor:
    """Classifier-free guidance (Ho and Salimans, 2022) of the first channels; a learned variance behind them stays as it is."""
    estimate = empty[:, :channels] + scale * (output[:, :channels] - empty[:, :channels])
    return torch.cat([estimate, output[:, channels:]], 1)


def _keywords(function: Any) -> Mapping[str, Any]:
    called = function.__init__ if inspect.isclass(function) else function
    return inspect.signature(called).parameters

"""The denoising loss on fixed images, noise and timesteps: the one curve that shows whether training helps.

The training loss is dominated by which timesteps a batch happens to have; here every call sees the same.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from skindiff.seeding import numpy_generator, torch_generator
from skindiff.training.diffusion_objective import Objective
from skindiff.training.latents import Moments

Predict = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""Maps noised latents (b, c, h, w), timesteps (b,) and prompt numbers (b,) (on the CPU) to a prediction."""


@dataclass(frozen=True)
class FixedNoiseLoss:
    """Mean squared error, without weighting, on examples that never change.

    Attributes:
        objective: schedule, parametrisation and offset noise, as in training; its weighting is not used.
        moments: latents of the images; the posterior's mean is taken.
        prompt_rows: (rows,) number of each image's prompt.
        examples: how many pairs of image and timestep; the timesteps are spread evenly over the schedule.
        device: where the network is.
        dtype: precision of its input.
        seed: fixes which image meets which timestep and noise.
        batch_size: examples per forward pass.
    """

    objective: Objective
    moments: Moments
    prompt_rows: torch.Tensor
    examples: int
    device: torch.device
    dtype: torch.dtype
    seed: int
    batch_size: int = 32

    def __call__(self, predict: Predict) -> float:
        """Return the loss of ``predict``."""
        rows = len(self.prompt_rows)
        order = numpy_generator("validation", self.seed, "rows").permutation(rows)
        images = torch.from_numpy(order[torch.arange(self.examples).numpy() % rows])
        places = torch.from_numpy(
            numpy_generator("validation", self.seed, "times").permutation(self.examples)
        )
        spread = (places + 0.5) / self.examples
        total = torch.zeros((), device=self.device)
        for same in self.moments.split(images):
            for part in same.split(self.batch_size):
                total += self._errors(predict, images[part], spread[part], part)
        return (total / self.examples).item()

    def _errors(
        self, predict: Predict, images: torch.Tensor, spread: torch.Tensor, places: torch.Tensor
    ) -> torch.Tensor:
        moments, rows = self.moments.of(images)
        noise = torch.stack(
            [
                self.objective.draw_noise(moments.shape, torch_generator("validation", self.seed, place))
                for place in places.tolist()
            ]
        )
        latents, timesteps = moments.mean[rows, 0], self.objective.spread_timesteps(spread, moments.shape)
        noised = self.objective.add_noise(latents, noise, timesteps).to(self.device, self.dtype)
        target = self.objective.target(latents, noise, timesteps).to(self.device)
        prediction = predict(noised, timesteps.to(self.device), self.prompt_rows[images])
        return (prediction.float() - target).square().mean(dim=(1, 2, 3)).sum()

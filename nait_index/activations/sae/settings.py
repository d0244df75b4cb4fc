"""Settings of the training of a sparse autoencoder, and what came of it, as frozen data."""

from dataclasses import dataclass

from nait_index.errors import ModelError


@dataclass(frozen=True, slots=True)
class SaeSettings:
    """Shape of a sparse autoencoder and course of its training.

    :param latents: how many; ``None`` is 8 times the width of the activations. :param k: kept of a token.
    :param tokens: most to train on; each is seen ``passes`` times.
    :param learning_rate: of Adam; ``None`` is 3·10⁻³ at 2,048 latents, and falls with the root of their number.
    :param dead_after: tokens without firing after which a latent is dead.
    :param aux_weight: α, the weight of the auxiliary loss.
    """

    latents: int | None = None
    k: int = 32
    tokens: int = 500_000
    passes: int = 4
    batch: int = 512
    learning_rate: float | None = None
    dead_after: int = 50_000
    aux_weight: float = 1 / 32
    seed: int = 0

    def __post_init__(self) -> None:
        latents = self.k if self.latents is None else self.latents
        if not 1 <= self.k <= latents:
            raise ModelError(f"--k {self.k} must be at least 1 and at most the number of latents ({latents})")
        if min(self.tokens, self.passes, self.batch, self.dead_after) < 1:
            raise ModelError("--tokens, passes and batch must be at least 1")
        if not 0 <= self.seed < 2**63:
            raise ModelError(f"--seed must be from 0 to 2^63 - 1, not {self.seed}")


@dataclass(frozen=True, slots=True)
class SaeReport:
    """What came of a training.

    :param unexplained: Σ‖x − x̂‖² / Σ‖x − mean‖² over held-out tokens, 0 where all is explained.
    :param dead_share: of latents that fired on no token of the last pass. :param left_out: tokens too far off.
    """

    tokens: int
    held_out: int
    left_out: int
    steps: int
    unexplained: float
    dead_share: float
    seconds: float

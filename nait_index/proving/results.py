"""The results of a proof: whether training on the chosen rows helps a model more than training on others."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nait_index.proving.plan import BM25, RANDOM, Planned, ProofPlan
from nait_index.proving.runs import Outcome
from nait_index.proving.statistics import Interval, LogRatio, RunPair, average, relative_loss


class Results:
    """The outcomes of a plan's runs.

    :param outcomes: one for every run, in order.
    """

    def __init__(self, plan: ProofPlan, planned: Planned, outcomes: Sequence[Outcome]) -> None:
        self.plan = plan
        self.planned = planned
        self.capabilities = list(plan.capabilities)
        self._outcomes = {
            (run.arm, run.target, run.seed): outcome for run, outcome in zip(planned.runs, outcomes, strict=True)
        }
        self._targeted = {arm.name: arm.targeted for arm in plan.arms}

    @property
    def arms(self) -> list[str]:
        """The names of all arms."""
        return list(self._targeted)

    def of(self, arm: str, capability: str) -> list[Outcome]:
        """Return the outcomes of an arm for a capability, one for every seed."""
        target = capability if self._targeted[arm] else None
        return [self._outcomes[arm, target, seed] for seed in range(self.plan.seeds)]

    def compare(self, arm: str, capability: str, base: str = RANDOM) -> LogRatio:
        """Estimate the loss of an arm on a capability relative to another's."""
        pairs = [
            RunPair(run.measured[capability].losses, other.measured[capability].losses)
            for run, other in zip(self.of(arm, capability), self.of(base, capability), strict=True)
        ]
        return relative_loss(pairs, self.capabilities.index(capability))

    def mean(self, arm: str, base: str = RANDOM) -> LogRatio:
        """Estimate the mean over the capabilities."""
        return average([self.compare(arm, capability, base) for capability in self.capabilities])

    def accuracy(self, arm: str, capability: str) -> dict[str, float]:
        """Return the mean loss per token, the share of exact answers, and what else was measured.

        For closed questions, ``options`` is the share of right ones; of generated answers, ``chrf`` is the mean.
        """
        measured = [outcome.measured[capability] for outcome in self.of(arm, capability)]
        shares = {
            "loss": float(np.mean([one.loss for one in measured])),
            "exact": float(np.mean([one.exact.mean() for one in measured])),
        }
        if all(len(one.options) for one in measured):
            shares["options"] = float(np.mean([one.options.mean() for one in measured]))
        if all(len(one.chrf) for one in measured):
            shares["chrf"] = float(np.mean([one.chrf.mean() for one in measured]))
        return {name: round(share, 4) for name, share in shares.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return every comparison, against random rows and against BM25, as JSON can hold it."""
        others = [arm for arm in self.arms if arm != RANDOM]
        comparisons = max(1, len(others))
        bases = [base for base in (RANDOM, BM25) if base in self.arms]
        return {
            "arms": self.arms,
            "capabilities": self.capabilities,
            "seeds": self.plan.seeds,
            "comparisons": comparisons,
            **{
                f"against_{base}": {arm: self._row(arm, base, comparisons) for arm in self.arms if arm != base}
                for base in bases
            },
            "measured": {
                arm: {capability: self.accuracy(arm, capability) for capability in self.capabilities}
                for arm in self.arms
            },
            "read": {arm: self._read(arm) for arm in self.arms},
        }

    def _row(self, arm: str, base: str, comparisons: int) -> dict[str, Any]:
        each = {capability: self.compare(arm, capability, base) for capability in self.capabilities}
        return {
            **{capability: ratio.interval(comparisons).to_dict() for capability, ratio in each.items()},
            "mean": average(list(each.values())).interval(comparisons).to_dict(),
            "mean_alone": average(list(each.values())).interval().to_dict(),
        }

    def _read(self, arm: str) -> dict[str, float]:
        outcomes = [outcome for capability in self.capabilities for outcome in self.of(arm, capability)]
        return {
            "rows": round(float(np.mean([outcome.rows for outcome in outcomes])), 1),
            "tokens": round(float(np.mean([outcome.tokens for outcome in outcomes]))),
            "train_seconds": round(float(np.mean([outcome.train_seconds for outcome in outcomes])), 2),
            "select_seconds": round(self.planned.select_seconds[arm], 3),
        }


def verdict(results: Results, arm: str) -> str:
    """Return in one sentence whether an arm's choice helps this model."""
    against: Interval = results.mean(arm).interval()
    words = results.mean(arm, BM25).interval() if BM25 in results.arms and arm != BM25 else None
    if against.high < 0:
        help_ = f"rows chosen by {arm} teach this model more than random rows: answer loss {against}"
    elif against.low > 0:
        help_ = f"rows chosen by {arm} teach this model less than random rows: answer loss {against}"
    else:
        help_ = f"no difference from random rows is shown for {arm}: answer loss {against}"
    if words is None:
        return help_
    compared = "more than" if words.high < 0 else "less than" if words.low > 0 else "not provably more or less than"
    return f"{help_}; {compared} word overlap (bm25): {words}"

"""A model of how clients behave that learns online: the half-space trees of `river`, an extra.

Source: Tan, Ting, Liu: Fast Anomaly Detection for Streaming Data, 2011.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from seawall.core.errors import ConfigurationError

__all__ = ["HalfSpaceScores"]

_TREES, _HEIGHT, _WINDOW = 25, 8, 250


class HalfSpaceScores:
    """Implements `seawall.systems.threats.clients.ClientScores`.

    A score is 0 until 250 examples were learned. Scoring and learning take about 120 us each. Not for concurrent use.

    Args:
        features: names of what will be given, each 0 to 1.
        seed: of the trees.

    Raises:
        ConfigurationError: `river` is missing.
    """

    def __init__(self, features: Sequence[str], seed: int) -> None:
        try:
            from river.anomaly import HalfSpaceTrees  # noqa: PLC0415 - an extra, and 100 MB of memory
        except ImportError as error:
            raise ConfigurationError(
                "threats.judge_clients needs the package river", hint="pip install 'seawall[anomaly]', or turn it off"
            ) from error
        self._trees: Any = HalfSpaceTrees(
            n_trees=_TREES,
            height=_HEIGHT,
            window_size=_WINDOW,
            limits=dict.fromkeys(features, (0.0, 1.0)),
            seed=seed,
        )

    def score(self, features: Mapping[str, float]) -> float:
        """Return how unusual something is, 0 to 1."""
        return float(self._trees.score_one(dict(features)))

    def learn(self, features: Mapping[str, float]) -> None:
        """Take it for usual."""
        self._trees.learn_one(dict(features))

"""The best scores possible on the `demo` corpus from its words, its voices, and both.

The demo corpus is drawn from written-down distributions, so the probability of every label given what a
clip shows is known exactly, and so is the best rule. "Words" is the cue category alone; "voice" is the
prosody and voice quality as drawn, with the speaker's own pitch known. A system hears the voice only
through the audio, which blurs it, and a system that hears may understand the words too: compare it with
both. What the ceilings do not count is knowledge about the clip that is neither: its video leans to one
label, and half the test clips share a video with training clips (see the pages on splits).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from emoser_lib.corpora.corpus import LABELS
from emoser_lib.corpora.generation import DEMO_DATA, PROSODY, QUALITIES, Distributions, draw_latents, load_distributions
from emoser_lib.corpora.tables import read_table
from emoser_lib.errors import UsageError

CEILINGS = ("text", "audio", "both")
"""What a rule may look at."""


@dataclass(frozen=True)
class Rule:
    """Decision rule: the label with the largest ``weight * (P(label | clip) - offset)``; both of shape [label].

    Weight 1 and offset 0 is Bayes' rule, which is best for accuracy. For macro-F1 it is not: with F_y the
    F1 of label y and D_y = P(predicted y) + P(y), the derivative of macro-F1 towards predicting y at a clip is
    proportional to (2 P(y | clip) - F_y) / D_y. At the best rule every clip gets the label where that is largest,
    so the best rule has weight 2 / D and offset F / 2: rare labels gain weight, hard ones lose their offset.
    """

    weight: np.ndarray
    offset: np.ndarray

    def predict(self, posterior: np.ndarray) -> np.ndarray:
        """Decide on label indices [clip] from posteriors [clip, label]."""
        return np.argmax(self.weight * (posterior - self.offset), axis=1)


def ceilings(split: str = "test", draws: int = 200_000, seed: int = 0) -> pd.DataFrame:
    """Compute the best possible scores by construction, with the label proportions of a split.

    Computed from ``distributions.yaml``: exact posteriors, Monte Carlo over a large simulated population.

    Args:
        split: ``train`` or ``test``: whose label counts and clips.
        draws: simulated clips, the same number for each label. At 200,000 the scores are good to 0.003.
        seed: of the simulation.

    Returns:
        one row each for text, audio, both; columns
        ``macro_f1``: the best possible in the population (see `Rule`);
        ``accuracy``: the best possible in the population, of Bayes' rule;
        ``low``, ``high``: where 95 % of the macro-F1 of that rule fall on sets with the split's label counts;
        ``on_this_test``: macro-F1 of that rule on the clips shipped in this split, from their ``latents.csv``.

    Raises:
        UsageError: unknown split, or too few draws.
        DataError: the shipped tables are damaged.

    >>> table = ceilings(draws=6_000)
    >>> list(table.index), bool(table.macro_f1["text"] < table.macro_f1["audio"] < table.macro_f1["both"] < 1)
    (['text', 'audio', 'both'], True)
    """
    distributions = load_distributions()
    if split not in distributions.clips:
        raise UsageError(f"the demo corpus has no split '{split}': choose one of {', '.join(distributions.clips)}.")
    if draws < 1_000:
        raise UsageError(f"draws is {draws}: the simulation needs at least 1000.")
    rng = np.random.default_rng(seed)
    counts = np.array([distributions.clips[split][label] for label in LABELS])
    gold = np.repeat(np.arange(len(LABELS)), draws // len(LABELS))
    population = draw_latents(distributions, np.array(LABELS)[gold], rng)
    shipped = _shipped(split)
    shipped_gold = np.array([LABELS.index(label) for label in shipped["label"]])
    rows = {}
    for source in CEILINGS:
        posterior = label_posterior(distributions, population, source, counts / counts.sum())
        rule, macro_f1 = best_rule(posterior, gold, counts / counts.sum())
        rates = _rates(rule.predict(posterior), gold)
        bayes = _rates(posterior.argmax(axis=1), gold)
        simulated = _macro_f1(_simulated_confusions(rates, counts, rng))
        on_shipped = rule.predict(label_posterior(distributions, shipped, source, counts / counts.sum()))
        rows[source] = {
            "macro_f1": macro_f1,
            "accuracy": float(np.diag(bayes) @ counts / counts.sum()),
            "low": float(np.quantile(simulated, 0.025)),
            "high": float(np.quantile(simulated, 0.975)),
            "on_this_test": float(_macro_f1(_rates(on_shipped, shipped_gold) * counts[:, None])),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def label_posterior(distributions: Distributions, clips: pd.DataFrame, source: str, prior: np.ndarray) -> np.ndarray:
    """Compute P(label | what the source shows of a clip), exactly.

    Args:
        distributions: what the clips were drawn from.
        clips: columns cue, the four prosody latents and quality.
        source: ``text`` (cue), ``audio`` (prosody and quality) or ``both``.
        prior: P(label), [label].

    Returns:
        [clip, label], rows sum to 1.

    Raises:
        UsageError: unknown source.

    >>> clip = pd.DataFrame({"cue": ["fear"]})
    >>> label_posterior(load_distributions(), clip, "text", np.full(6, 1 / 6)).argmax(axis=1)
    array([5])
    """
    if source not in CEILINGS:
        raise UsageError(f"unknown source '{source}': choose one of {', '.join(CEILINGS)}.")
    logs = np.tile(np.log(prior), (len(clips), 1))
    with np.errstate(divide="ignore"):  # a probability of 0 rightly rules a label out
        if source != "audio":
            logs += np.log(distributions.cue_matrix()).T[pd.Categorical(clips["cue"], list(LABELS)).codes]
        if source != "text":
            logs += np.log(distributions.quality_matrix()).T[pd.Categorical(clips["quality"], list(QUALITIES)).codes]
            logs += _gaussian_log_density(distributions, clips[list(PROSODY)].to_numpy(float))
    likelihood = np.exp(logs - logs.max(axis=1, keepdims=True))
    return likelihood / likelihood.sum(axis=1, keepdims=True)


def best_rule(posterior: np.ndarray, gold: np.ndarray, prior: np.ndarray, steps: int = 40) -> tuple[Rule, float]:
    """Find the rule with the largest macro-F1 in a population, and that macro-F1.

    Repeats "predict, measure, set the rule to what the optimum needs" (see `Rule`) from Bayes' rule and from
    weights 1 / prior, and keeps the best rule seen. This is Frank-Wolfe with full steps, as for macro-F1 in
    Narasimhan et al. 2015 (Consistent multiclass algorithms for complex performance measures). Macro-F1 is not
    concave, so this finds a local optimum; for the shipped distributions the tests compare it with every map from
    cue to label, and with coordinate ascent on the label weights.

    Args:
        posterior: [clip, label], clips drawn label by label.
        gold: label indices [clip]; each label's clips count ``prior`` in all.
        prior: P(label), [label].
        steps: repetitions from each start (our choice; it settles in under ten).
    """
    best, best_score = None, -1.0
    for weight in (np.ones_like(prior), 1 / prior):
        rule, previous = Rule(weight, np.zeros_like(prior)), -1.0
        for _ in range(steps):
            joint = _rates(rule.predict(posterior), gold) * prior[:, None]
            score = float(_macro_f1(joint))
            if score > best_score:
                best, best_score = rule, score
            if abs(score - previous) < 1e-5:
                break
            size = joint.sum(axis=0) + joint.sum(axis=1)
            rule, previous = Rule(2 / size, np.diag(joint) / size), score
    assert best is not None
    return best, best_score


def _gaussian_log_density(distributions: Distributions, values: np.ndarray) -> np.ndarray:
    """Log density [clip, label] up to a constant: the covariance is the same for all labels."""
    whitening = np.linalg.inv(np.linalg.cholesky(distributions.covariance())).T
    distance = (values @ whitening)[:, None, :] - (distributions.mean_matrix() @ whitening)[None, :, :]
    return -0.5 * (distance**2).sum(axis=2)


def _rates(predicted: np.ndarray, gold: np.ndarray) -> np.ndarray:
    """P(predicted | gold), [gold, predicted]."""
    k = len(LABELS)
    confusion = np.bincount(gold * k + predicted, minlength=k * k).reshape(k, k)
    return confusion / confusion.sum(axis=1, keepdims=True)


def _macro_f1(confusion: np.ndarray) -> np.ndarray:
    """Macro-F1 of confusions [..., gold, predicted]; a label never predicted scores 0."""
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    return (2 * right / (confusion.sum(axis=-1) + confusion.sum(axis=-2))).mean(axis=-1)


def _simulated_confusions(rates: np.ndarray, counts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Confusions [5000, gold, predicted] of test sets with these label counts."""
    rows = [rng.multinomial(count, row, size=5_000) for count, row in zip(counts, rates, strict=True)]
    return np.stack(rows, axis=1)


def _shipped(split: str) -> pd.DataFrame:
    """Labels and latents of the shipped clips of a split."""
    metadata = read_table(DEMO_DATA / "metadata.csv", ["id", "label", "split"])
    latents = read_table(DEMO_DATA / "latents.csv", ["id", "cue", *PROSODY, "quality"])
    joined = metadata[["id", "label", "split"]].merge(latents, on="id", validate="one_to_one")
    return joined[joined["split"] == split].astype(dict.fromkeys(PROSODY, float))

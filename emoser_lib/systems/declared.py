"""What a system is: declarations of prompt, encoder layer, bridge, adapter, loss and training, without torch."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Self

from emoser_lib.errors import UsageError
from emoser_lib.systems.prompts.audio import audio_prompt

Layer = int | Literal["all"]
"""A layer's output: 0 is what goes into the first layer, -1 the last one; "all": every one of them."""

Context = Literal["clip", "window", "batch"]
"""What an encoder hears besides a clip. "clip": nothing. "window": silence up to 30 s, as in Whisper's own training;
the frames of the clip are kept. "batch": the batch's padding, unmasked, all of whose frames are kept, as in the
released code of THAU-UPM; so a clip's frames depend on the clips beside it and cannot be cached."""


@dataclass(frozen=True)
class Lora:
    """The adapter: ΔW = (alpha / rank) · B A (THAU-UPM, equation 1).

    Attributes:
        rank: r, columns of B and rows of A.
        alpha: α; the update is scaled by α / r.
        targets: "all-linear" (all but the output layer), "q,v", "q,k,v", or "c_attn": that with one A for all three, as
            ms-swift adapted Qwen-Audio by default. Which of them the paper took it does not say.
        dropout: on the adapter's input; our choice, the paper does not say.
    """

    rank: int = 16
    alpha: int = 32
    targets: Literal["all-linear", "q,v", "q,k,v", "c_attn"] = "all-linear"
    dropout: float = 0.05


@dataclass(frozen=True)
class Linear:
    """One linear layer for each frame (THAU-UPM, section 3.3).

    Attributes:
        stack: frames that are joined into one before the layer; 1 (THAU-UPM).
        pool: frames that are averaged into one before the layer; 1 (THAU-UPM).
    """

    stack: int = 1
    pool: int = 1

    def __post_init__(self) -> None:
        if min(self.stack, self.pool) < 1 or (self.stack > 1 and self.pool > 1):
            raise UsageError(f"stack is {self.stack} and pool {self.pool}: set one of them, to 1 or more.")


@dataclass(frozen=True)
class Queries:
    """Query pooling mapper (EmoSLLM). What the seed and public reviews say: learnt queries are appended to the frames,
    a Transformer encoder reads all, the queries' outputs are kept and projected. The rest is our choice.

    Attributes:
        queries: how many, 32 (reviews of EmoSLLM).
        layers, heads, width: 2, 8 and 768 (reviews of EmoSLLM).
        mlp: width of the feed-forward layers, 3072 (our choice: four times the width).
        dropout: 0.1 (our choice).
        norm: layer normalisation before ("pre") or after ("post") each block; "pre" (our choice).
        positions: what tells the frames' order: "none", since the encoder's frames know their place, or "sinusoidal"
            (our choice: "none").
    """

    queries: int = 32
    layers: int = 2
    heads: int = 8
    width: int = 768
    mlp: int = 3072
    dropout: float = 0.1
    norm: Literal["pre", "post"] = "pre"
    positions: Literal["none", "sinusoidal"] = "none"

    def __post_init__(self) -> None:
        if self.width % self.heads or self.width % 2:
            raise UsageError(f"The mapper's width {self.width} must be even and a multiple of its {self.heads} heads.")


@dataclass(frozen=True)
class Own:
    """The encoder's own: its frames are what the language model reads already (Qwen-Audio). Nothing is trained."""


Bridge = Linear | Queries | Own

LabelWeights = Literal["none", "inverse", "normalised", "sqrt"]

LossMean = Literal["weights", "clips"]


@dataclass(frozen=True)
class Loss:
    """Cross-entropy over the labels, a clip's loss counted by the weight of its label.

    Attributes:
        weights: "none"; "inverse": N / n of the label's n clips among N (released code of THAU-UPM; with its 3,000
            clips fear weighs 130); "normalised": that divided by the number of labels, so that the mean weight of a
            clip is 1; "sqrt": the square root of "inverse".
        mean: what the sum of a batch is divided by: the sum of its "weights", as torch's CrossEntropyLoss does and so
            the released code, or its number of "clips". Divided by the weights, a factor common to them all is gone:
            "inverse" and "normalised" are then one, and a batch of one label is not weighted at all.
        over: what the right answer is likely among: the "labels", or all that a model can write ("words"): the mean
            over the pieces of the label's word and of the token that ends the answer, as language models are trained.

    Raises:
        UsageError: weights of labels, for a loss over words.
    """

    weights: LabelWeights = "inverse"
    mean: LossMean = "weights"
    over: Literal["labels", "words"] = "labels"

    def __post_init__(self) -> None:
        if self.over == "words" and self.weights != "none":
            raise UsageError(f"weights is '{self.weights}', but a loss over words weighs no labels: set it to none.")

    def of(self, labels: Sequence[str], order: Sequence[str]) -> list[float]:
        """The weight of each label.

        >>> Loss("inverse").of(["joy", "joy", "joy", "fear"], ["joy", "fear"])
        [1.3333333333333333, 4.0]
        >>> Loss("normalised").of(["joy", "joy", "joy", "fear"], ["joy", "fear"])
        [0.6666666666666666, 2.0]
        """
        counts = Counter(labels)
        inverse = [len(labels) / counts[label] if counts[label] else 0.0 for label in order]
        each: dict[str, Callable[[float], float]] = {
            "none": lambda weight: 1.0,
            "inverse": lambda weight: weight,
            "normalised": lambda weight: weight / len(order),
            "sqrt": lambda weight: weight**0.5,
        }
        return [each[self.weights](weight) for weight in inverse]


@dataclass(frozen=True)
class Training:
    """How a system is trained. Adam with a learning rate that falls to 0 in a straight line (THAU-UPM, section 4.2).

    Attributes:
        epochs: 6 (THAU-UPM, of Gemma).
        batch_size: clips a step, 4 (THAU-UPM).
        learning_rate: at the start, 1e-4 (THAU-UPM).
        accumulation: steps whose gradients are summed up before an update; 1 (our choice).
        warmup: share of the steps in which the learning rate rises; 0 (our choice).
        weight_decay: on everything that is trained; 0, so Adam (THAU-UPM) and AdamW are one.
        betas: Adam's, .9 and .999 (its authors').
        epsilon: Adam's, 1e-8 (its authors').
        final_rate: what is left of the learning rate in the end, as a share of it; 0.
        decay_epochs: epochs in which it falls; after them it stays. 0: all of them.
        by_epoch: it falls once an epoch instead of at each step.
        shuffle: draw the clips' order anew each epoch.
        clip: largest norm of the gradient; 1 (our choice). 0: no clipping.
        outer_rate: how many times the learning rate a task's `Task.outer` is trained at; 1 (our choice).
        activation_checkpointing: compute activations twice instead of keeping them, for models that do not fit.
        seed: of the first values, the order of the clips and the dropout.
    """

    epochs: int = 6
    batch_size: int = 4
    learning_rate: float = 1e-4
    accumulation: int = 1
    warmup: float = 0.0
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    final_rate: float = 0.0
    decay_epochs: int = 0
    by_epoch: bool = False
    shuffle: bool = True
    clip: float = 1.0
    outer_rate: float = 1.0
    activation_checkpointing: bool = False
    seed: int = 0

    def rate(self, step: int, steps: int) -> float:
        """The learning rate before step ``step`` (from 0) of ``steps``, as a share of ``learning_rate``.

        >>> [Training(epochs=2).rate(step, 4) for step in range(4)]
        [1.0, 0.75, 0.5, 0.25]
        >>> released = Training(epochs=8, final_rate=0.1, decay_epochs=5, by_epoch=True)
        >>> [round(released.rate(step, 16), 2) for step in range(0, 16, 2)]
        [1.0, 0.82, 0.64, 0.46, 0.28, 0.1, 0.1, 0.1]
        """
        warm = math.ceil(self.warmup * steps)
        if step < warm:
            return step / warm
        falling = steps * (self.decay_epochs or self.epochs) / self.epochs - warm
        gone = step - warm
        if self.by_epoch:
            gone -= gone % max(1, steps // self.epochs)
        return 1 - (1 - self.final_rate) * min(1.0, gone / max(1, falling))


@dataclass(frozen=True)
class TextSystem:
    """A language model that reads the transcription and writes the label's word, declared.

    Attributes:
        prompt: a name of ``PROMPTS``; Table 1's (THAU-UPM).
        chat: how it is put before the model, see `prompts.chat_of`.
        words: a name of ``WORDS``; our choice, the paper does not say which words it trained on.
        end: learn and score the end token after the word too; our choice: no, the loss is on the label (THAU-UPM).
        lora: the adapter.
        training: the hyper-parameters.
    """

    prompt: str = "gemma"
    chat: str = "auto"
    words: str = "nouns"
    end: bool = False
    lora: Lora = field(default_factory=Lora)
    training: Training = field(default_factory=Training)

    def with_adapter(self, rank: int, alpha: int) -> Self:
        """The same with another rank and alpha.

        >>> TextSystem().with_adapter(rank=64, alpha=128).lora.rank
        64
        """
        return replace(self, lora=replace(self.lora, rank=rank, alpha=alpha))


@dataclass(frozen=True)
class AudioSystem:
    """A language model that hears and, if its prompt says so, reads: declared. Defaults: Whisper-Gemma as published.

    Attributes:
        prompt: a name of ``AUDIO_PROMPTS``.
        chat: how it is put before the model, see `prompts.chat_of`; "plain" (released code).
        words: a name of ``WORDS``; the released code has the prompt's adjectives.
        layer: of the encoder: its number, -1 the last one (THAU-UPM), or "weighted", a learnt sum of all.
        bridge: `Linear` (THAU-UPM) or `Queries` (EmoSLLM).
        scaled: see `AudioLLM`.
        adaptation: an adapter in the language model; ``None``: it is frozen (THAU-UPM).
        ears: an adapter in the encoder, which then runs at each step (THAU-UPM, section 6, of Qwen-Audio: future work);
            ``None``: it has none.
        encoding: "cached": the frozen encoder runs once a clip; "live": at each step, as in the released code of seed
            1, where a clip may be heard with its batch (`encoders.Context`); "trained": it is trained along, as that
            code does as it is set.
        loss: how the labels are weighed.
        window_seconds: cut clips into windows of this length, score each, average the probabilities (EmoSLLM: 3
            seconds; how they were cut is not known); 0: whole clips (THAU-UPM).
        speech_weight: of the loss of writing down what is said, as an auxiliary task; 0: none.
        training: the hyper-parameters.
    """

    prompt: str = "whisper-gemma"
    chat: str = "plain"
    words: str = "adjectives"
    layer: int | Literal["weighted"] = -1
    bridge: Bridge = field(default_factory=Linear)
    scaled: bool = True
    adaptation: Lora | None = None
    ears: Lora | None = None
    encoding: Literal["cached", "live", "trained"] = "cached"
    loss: Loss = field(default_factory=Loss)
    window_seconds: float = 0.0
    speech_weight: float = 0.0
    training: Training = field(default_factory=Training)

    def __post_init__(self) -> None:
        if self.encoding == "trained" and self.layer == "weighted":
            raise UsageError("encoding is 'trained' and layer 'weighted': name one layer, such as -1.")
        if self.ears is not None and self.encoding != "live":
            raise UsageError(f"ears has an adapter and encoding is '{self.encoding}': set it to live.")
        if not audio_prompt(self.prompt).hears:
            raise UsageError(f"The prompt '{self.prompt}' has no place for audio: choose another one.")

    @property
    def encoder_layer(self) -> Layer:
        """What the encoder is asked for."""
        return "all" if self.layer == "weighted" else self.layer

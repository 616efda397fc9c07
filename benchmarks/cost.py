"""Compare `espresso.models.flops` with the TFLOPs of VideoEspresso (Table 1, a video of 16 s).

    uv run python -m benchmarks.cost

The configs are the models' public ones. Text tokens are left out, because the paper does not give
their number. The paper's column mixes two conventions: the LLaVA models are counted in
multiply-adds without the attention of the language model; InternVL2 and LongVA are counted in
operations (two per multiply-add) with it. By these conventions all four models agree within 10 %.
LLaVA-NeXT-Interleave agrees only with the vision encoder and the 576 tokens per frame of LLaVA-1.5;
its own encoder (SigLIP, 729 tokens per frame) would give 81 TFLOPs.

The second table is the whole pipeline of Table 5 with the paper's models, including the captioner
and the selector, which the paper leaves out: the cost of the first question about a clip in
relation to 16 uniform frames, and of each of ten questions that share the captions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from espresso.models.flops import Flops, model_shape


def _text_config(hidden: int, intermediate: int, layers: int, heads: int, key_heads: int, vocab: int) -> dict[str, int]:
    sizes = {"hidden_size": hidden, "intermediate_size": intermediate, "num_hidden_layers": layers, "vocab_size": vocab}
    return sizes | {"num_attention_heads": heads, "num_key_value_heads": key_heads}


INTERN_VIT: dict[str, Any] = {"hidden_size": 1024, "num_hidden_layers": 24, "intermediate_size": 4096, "patch_size": 14}
CLIP = INTERN_VIT | {"model_type": "clip_vision_model"}


@dataclass(frozen=True)
class Published:
    """One row of the paper's column."""

    name: str

    config: dict[str, Any]
    """The model's config, as far as it matters."""

    frames: int

    tokens: int
    """Tokens per frame in the language model."""

    merged_patches: int
    """Patches per token."""

    tflops: float
    """The published number."""

    multiply_adds: bool
    """Counted in multiply-adds without the attention of the language model."""

    @property
    def flops(self) -> Flops:
        """Our count for the prompt and the first token of a reply."""
        shape = model_shape(self.config)
        assert shape.vision
        shape = replace(shape, vision=replace(shape.vision, merged_patches=self.merged_patches))
        visual = self.frames * self.tokens
        return shape.flops(visual, 1, tokens_visual=visual, pictures=self.frames)

    @property
    def ours(self) -> float:
        """Our count in the unit of the paper."""
        return (self.flops.total - self.flops.attention) / 2e12 if self.multiply_adds else self.flops.total / 1e12


def _published(name: str, text: dict[str, int], vision: dict[str, Any], *row: Any) -> Published:
    family = "internvl" if vision is INTERN_VIT else "llava"
    return Published(name, {"model_type": family, "text_config": text, "vision_config": vision}, *row)


TABLE_1 = (
    _published("LLaVA-1.5", _text_config(4096, 11008, 32, 32, 32, 32000), CLIP, 4, 576, 1, 14.50, True),
    _published("LLaVA-NeXT-Interleave", _text_config(4096, 11008, 32, 32, 32, 151936), CLIP, 16, 576, 1, 62.78, True),
    _published("InternVL2-8B", _text_config(4096, 14336, 32, 32, 8, 92553), INTERN_VIT, 16, 256, 4, 73.23, False),
    _published("LongVA", _text_config(3584, 18944, 28, 28, 4, 152064), CLIP, 128, 144, 4, 465.44, False),
)


CAPTIONER = {
    "model_type": "internvl",
    "text_config": _text_config(896, 4864, 24, 14, 2, 151655),  # InternVL2-1B: Qwen2-0.5B with InternViT-300M
    "vision_config": INTERN_VIT,
}
SELECTOR = _text_config(1536, 8960, 28, 12, 2, 151936)  # Qwen2.5-1.5B
REASONER = TABLE_1[2].config  # InternVL2-8B
FRAME_TOKENS, CAPTION_PROMPT, CAPTION_TOKENS = 256, 80, 50
QUESTION_TOKENS, SELECTION_TOKENS, EVIDENCE_TOKENS, ANSWER_TOKENS = 250, 12, 100, 10
SELECTED = 2.36
"""Mean number of core frames with the 1B captioner and the 1.5B selector (Table 5)."""


def captioning(frames: float) -> float:
    """Return the TFLOPs of captioning this many frames with the paper's captioner."""
    tokens = FRAME_TOKENS + CAPTION_PROMPT
    each = model_shape(CAPTIONER).flops(tokens, CAPTION_TOKENS, tokens_visual=FRAME_TOKENS, pictures=1)
    return frames * each.total / 1e12


def selection(frames: float) -> float:
    """Return the TFLOPs of selecting from this many captions with the paper's selector."""
    return model_shape(SELECTOR).flops(frames * CAPTION_TOKENS + QUESTION_TOKENS, SELECTION_TOKENS).total / 1e12


def reasoning(frames: float) -> float:
    """Return the TFLOPs of evidence and answer from this many frames with InternVL2-8B.

    Both requests prefill the frames.
    """
    shape, visual = model_shape(REASONER), frames * FRAME_TOKENS
    requests = ((QUESTION_TOKENS, EVIDENCE_TOKENS), (QUESTION_TOKENS + EVIDENCE_TOKENS, ANSWER_TOKENS))
    pictures = round(frames) or 1
    return sum(shape.flops(visual + text, out, tokens_visual=visual, pictures=pictures).total for text, out in requests) / 1e12


def main() -> None:
    """Print both tables."""
    print(f"{'model':22} {'frames':>6} {'paper':>8} {'ours':>8} {'error':>7}   unit")
    for row in TABLE_1:
        unit = "multiply-adds, without language attention" if row.multiply_adds else "operations"
        print(f"{row.name:22} {row.frames:6} {row.tflops:8.2f} {row.ours:8.2f} {row.ours / row.tflops - 1:+7.1%}   {unit}")
    uniform = reasoning(16)
    print(
        f"\nTFLOPs of evidence and answer by InternVL2-8B with 16 uniform frames: {uniform:.1f}; "
        "with frames selected by InternVL2-1B and Qwen2.5-1.5B:"
    )
    print(
        f"{'captioned':>9} {'captioner':>9} {'selector':>8} {'reasoner':>9} {'first':>7} {'ratio':>6} {'of ten':>7} {'ratio':>6}"
    )
    for frames in (16, 8, 4):
        parts = captioning(frames), selection(frames), reasoning(SELECTED)
        first, tenth = sum(parts), parts[0] / 10 + parts[1] + parts[2]
        print(
            f"{frames:9} {parts[0]:9.1f} {parts[1]:8.1f} {parts[2]:9.1f} "
            f"{first:7.1f} {first / uniform:6.2f} {tenth:7.1f} {tenth / uniform:6.2f}"
        )


if __name__ == "__main__":
    main()

"""Hold `espresso.models.flops` against the TFLOPs that VideoEspresso publishes (Table 1, a video of 16 seconds).

    uv run python -m benchmarks.cost

The configs are the public ones of the models; the text beside the frames is left out, its length not being told. The column mixes
two habits, which the numbers give away: the LLaVAs are counted in multiply-adds and without the language model's attention,
InternVL2 and LongVA in operations (two for each of those) with it. Read so, all four are within a tenth. LLaVA-NeXT-Interleave
agrees only if it sees with the tower and the 576 tokens of LLaVA-1.5; with its own (SigLIP, 729 tokens a frame) it would be 81.

Then the whole pipeline of Table 5 with the paper's models, captioner and selector included, which its column leaves out: what a
first question about a clip costs beside sixteen uniform frames, and each of ten that share the captions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from espresso.models.flops import Cost, read


def _language(width: int, inner: int, layers: int, heads: int, keys: int, vocabulary: int) -> dict[str, int]:
    sizes = {"hidden_size": width, "intermediate_size": inner, "num_hidden_layers": layers, "vocab_size": vocabulary}
    return sizes | {"num_attention_heads": heads, "num_key_value_heads": keys}


INTERN: dict[str, Any] = {"hidden_size": 1024, "num_hidden_layers": 24, "intermediate_size": 4096, "patch_size": 14}
CLIP = INTERN | {"model_type": "clip_vision_model"}


@dataclass(frozen=True)
class Published:
    """A row of the paper's column.

    tokens: of a frame, for the language model; merged: patches that each of them stands for. multiply_adds: how it was counted.
    """

    name: str
    config: dict[str, Any]
    frames: int
    tokens: int
    merged: int
    tflops: float
    multiply_adds: bool

    @property
    def cost(self) -> Cost:
        """Ours, of the prompt and the first token of a reply."""
        model = read(self.config)
        assert model.sight
        model = replace(model, sight=replace(model.sight, merged=self.merged))
        visual = self.frames * self.tokens
        return model.cost(visual, 1, tokens_visual=visual, pictures=self.frames)

    @property
    def ours(self) -> float:
        """The same in the column's unit."""
        return (self.cost.total - self.cost.attention) / 2e12 if self.multiply_adds else self.cost.total / 1e12


def _published(name: str, text: dict[str, int], vision: dict[str, Any], *row: Any) -> Published:
    kind = "internvl" if vision is INTERN else "llava"
    return Published(name, {"model_type": kind, "text_config": text, "vision_config": vision}, *row)


COLUMN = (
    _published("LLaVA-1.5", _language(4096, 11008, 32, 32, 32, 32000), CLIP, 4, 576, 1, 14.50, True),
    _published("LLaVA-NeXT-Interleave", _language(4096, 11008, 32, 32, 32, 151936), CLIP, 16, 576, 1, 62.78, True),
    _published("InternVL2-8B", _language(4096, 14336, 32, 32, 8, 92553), INTERN, 16, 256, 4, 73.23, False),
    _published("LongVA", _language(3584, 18944, 28, 28, 4, 152064), CLIP, 128, 144, 4, 465.44, False),
)


CAPTIONER = {
    "model_type": "internvl",
    "text_config": _language(896, 4864, 24, 14, 2, 151655),  # InternVL2-1B: Qwen2-0.5B behind InternViT-300M
    "vision_config": INTERN,
}
SELECTOR = _language(1536, 8960, 28, 12, 2, 151936)  # Qwen2.5-1.5B
FRAME_TOKENS, CAPTION_PROMPT, CAPTION_TOKENS = 256, 80, 50
QUESTION_TOKENS, CHOICE_TOKENS, EVIDENCE_TOKENS, ANSWER_TOKENS = 250, 12, 100, 10
SELECTED = 2.36
"""Core frames of the selector of 1B and 1.5B, Table 5."""


def captions(frames: float) -> float:
    """TFLOPs of the captions of so many frames, by the paper's captioner."""
    tokens = FRAME_TOKENS + CAPTION_PROMPT
    return frames * read(CAPTIONER).cost(tokens, CAPTION_TOKENS, tokens_visual=FRAME_TOKENS, pictures=1).total / 1e12


def selection(frames: float) -> float:
    """TFLOPs of a choice among so many captions, by the paper's selector."""
    return read(SELECTOR).cost(frames * CAPTION_TOKENS + QUESTION_TOKENS, CHOICE_TOKENS).total / 1e12


def reasoning(frames: float) -> float:
    """TFLOPs of evidence and answer from so many frames, by InternVL2-8B: each request reads the frames anew."""
    model, visual = read(COLUMN[2].config), frames * FRAME_TOKENS
    asked = ((QUESTION_TOKENS, EVIDENCE_TOKENS), (QUESTION_TOKENS + EVIDENCE_TOKENS, ANSWER_TOKENS))
    return (
        sum(model.cost(visual + text, out, tokens_visual=visual, pictures=round(frames) or 1).total for text, out in asked) / 1e12
    )


def main() -> None:
    """Print both tables."""
    print(f"{'model':22} {'frames':>6} {'paper':>8} {'ours':>8} {'off':>7}   counted as")
    for row in COLUMN:
        unit = "multiply-adds, language attention left out" if row.multiply_adds else "operations, all of them"
        print(f"{row.name:22} {row.frames:6} {row.tflops:8.2f} {row.ours:8.2f} {row.ours / row.tflops - 1:+7.1%}   {unit}")
    uniform = reasoning(16)
    print(
        f"\nInternVL2-8B, evidence and answer, 16 uniform frames: {uniform:.1f} TFLOPs; chosen by InternVL2-1B and Qwen2.5-1.5B:"
    )
    print(f"{'captioned':>9} {'captions':>9} {'choice':>7} {'reasoner':>9} {'first':>7} {'of it':>6} {'of ten':>7} {'of it':>6}")
    for frames in (16, 8, 4):
        parts = captions(frames), selection(frames), reasoning(SELECTED)
        first, tenth = sum(parts), parts[0] / 10 + parts[1] + parts[2]
        told = f"{frames:9} {parts[0]:9.1f} {parts[1]:7.1f} {parts[2]:9.1f}"
        print(f"{told} {first:7.1f} {first / uniform:6.2f} {tenth:7.1f} {tenth / uniform:6.2f}")


if __name__ == "__main__":
    main()

"""Check the model families of the profiles `laptop` and `paper` without their weights.

    uv run python -m benchmarks.public_families [--family Qwen3-VL ...] [--folder FOLDER]

Each family is built as a miniature: published settings and random weights, see
`benchmarks.miniatures`. It has its role of the profile; a vision model has all roles, so that its
server accepts several pictures. The columns of the table:

- tokens of a picture: for several shapes at the profile's frame size, with what surrounds it, and
  the profile's `picture_tokens`, which must not be exceeded.
- tokens of a prompt: of the node `evidence` with 1, 4 and 16 frames of 16:9. For these and the
  pictures, three numbers must be equal: the count of `ChatProcessor`, the length of the prompt that
  the processor of transformers expands, and the usage that a vLLM server reports.
- context: of 128 frames, `fit_frames` keeps as many as fit next to the evidence by the estimate for
  servers. The server answers that prompt, and it leaves room for the evidence.
- prompts: rendered prompts hold all texts and pictures in order, and a reply ends its turn as in
  the chat template.
- adapter: an adapter by the rule of `espresso finetune` covers all linear layers of the language
  model and nothing else. It is saved, loaded here and served, and changes replies.
- replies: greedy replies, JSON and chosen letters (not for SmolVLM2, which only captions), with and
  without the adapter, are equal in this process and served. Both compute in float32: with random
  weights, the rounding of bfloat16 changes which of 150,000 tokens is the most probable. Pictures
  have few colours and are sent as PNG; JPEG, which photographs are sent as, changes the replies of
  random weights.

Below the table: the embedders embed a long text; the command line answers a question with a copy of
the profile `laptop` that has the miniatures, and trains two steps of each stage with a copy of
`finetune/configs/lora/laptop.yaml`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import yaml
from pydantic import BaseModel, Field
from torch import nn

import prompts
from benchmarks import miniatures
from benchmarks.miniatures import Miniature
from espresso import profiles, world
from espresso.models import engine, fit_frames
from espresso.models.chat import Conversation, Message, Picture
from espresso.models.embedder import TransformersEmbedder
from espresso.models.openai_client import OpenAIModel
from espresso.models.transformers_model import TransformersModel
from espresso.models.vllm import launch
from espresso.profiles import LocalEmbedder, LocalRole, Profile
from finetune.config import read_config
from finetune.lora import train
from finetune.lora.config import FinetuneConfig

PORT = 8461
SHAPES = {"16:9": 16 / 9, "4:3": 4 / 3, "1:1": 1.0, "9:16": 9 / 16, "8:1": 8.0}
FRAMES = (1, 4, 16)
MANY_FRAMES = 128
EVIDENCE_TOKENS = 256
"""Length of the evidence, for which `fit_frames` leaves room."""
REPLY_TOKENS = 12
QUESTION = "Why does the dog bark?"
ROOT = Path(__file__).parents[1]
COLUMNS = ("family", "tokens of a picture", "tokens of a prompt", "context", "prompts", "adapter", "replies")


class FrameChoice(BaseModel):
    """A reply in JSON; a random model would write numbers without end."""

    frames: list[Literal[1, 2, 3]] = Field(max_length=4)


def main() -> None:
    """Build the miniatures, run the checks and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", nargs="*", default=[""], help="parts of the names of the families to check; default: all")
    parser.add_argument("--folder", type=Path, help="folder for the miniatures; kept, and used again by the next run")
    options = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.folder or Path(temporary)).resolve()
        chosen = [each for each in miniatures.CHAT if any(part in each.name for part in options.family)]
        print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
        for miniature in chosen:
            print(f"| {' | '.join(check(miniature, folder))} |", flush=True)
        if chosen == list(miniatures.CHAT):
            print()
            for line in (*embed(folder), ask(folder), *finetune(folder)):
                print(f"- {line}", flush=True)


def check(miniature: Miniature, folder: Path) -> list[str]:
    """Run all checks of a family; return its row of the table."""
    model = miniatures.build(miniature, folder / miniature.name)
    profile, role = _role(miniature)
    role = role.model_copy(update={"model": str(model), "cache_gb": 1})
    adapter = "no reasoner"
    if miniature.vision:
        path = folder / "adapters" / miniature.name
        adapter = _save_adapter(model, path)
        role = role.model_copy(update={"adapters": {"evidence": str(path)}})
    roles = ("captioner", "selector", "reasoner") if miniature.vision else ("selector",)
    profile = profile.model_copy(update=dict.fromkeys(roles, role))
    with _float32(), _served(profile, role) as served:
        local = TransformersModel(
            model, adapters=role.adapters, context_length=role.context_length, image_options=role.image_options
        )
        cells = asyncio.run(Checks(miniature, profile.frame_size, local, served).run())
        local.close()
    return [f"{miniature.name} (`{profile.name}`)", *cells[:4], adapter, cells[4]]


def _role(miniature: Miniature) -> tuple[Profile, LocalRole]:
    """Return the profile that uses a model, and the model's role in it."""
    loaded = [profiles.load(name) for name in ("laptop", "paper")]
    uses = ((profile, role) for profile in loaded for role in profile.roles.values() if isinstance(role, LocalRole))
    return next((profile, role) for profile, role in uses if role.model == miniature.hub_name)


def _save_adapter(model: Path, out: Path) -> str:
    """Save a random adapter with the settings of `laptop.yaml`; return what it covers."""
    config = read_config(ROOT / "finetune" / "configs" / "lora" / "laptop.yaml", FinetuneConfig)
    adapted = train.load_model(config, str(model), None)
    base: Any = adapted.get_base_model()
    decoder = base.get_decoder()
    inside = {id(parameter) for parameter in decoder.parameters()}
    trainable = [(name, parameter) for name, parameter in adapted.named_parameters() if parameter.requires_grad]
    if outside := [name for name, parameter in trainable if id(parameter) not in inside]:
        return f"FAILED: also {outside[0]}"
    layers = sum(isinstance(module, nn.Linear) for name, module in decoder.named_modules() if "lora_" not in name)
    if len(trainable) != 2 * layers:
        return f"FAILED: {len(trainable) // 2} of {layers} layers"
    torch.manual_seed(1)
    for name, parameter in trainable:
        if "lora_B" in name:  # zero at the start of a training
            nn.init.normal_(parameter, std=0.2)
    adapted.save_pretrained(str(out))
    return f"{layers} of {layers} layers"


@contextmanager
def _float32() -> Iterator[None]:
    """Compute in float32, in this process and on servers."""
    original = engine.model_dtype
    engine.model_dtype = launch.model_dtype = lambda folder: torch.float32
    try:
        yield
    finally:
        engine.model_dtype = launch.model_dtype = original


@contextmanager
def _served(profile: Profile, role: LocalRole) -> Iterator[OpenAIModel]:
    """Serve the model of a role, with the arguments of `espresso serve models`."""
    server = next(each for each in launch.plan(profile, PORT, cards=[]) if each.model.model == role.model)
    with launch.running([server]):
        yield OpenAIModel(
            server.models[0],
            base_url=server.base_url,
            context_length=role.context_length or 0,
            picture_tokens=role.picture_tokens or 0,
            adapters=dict(zip(role.adapters, server.models[1:], strict=True)),
            timeout=600,
        )


def _picture(size: int, ratio: float, seed: int = 0) -> Picture:
    """Return a picture of coloured tiles.

    Args:
        size: longest side in pixels.
        ratio: width / height.
        seed: seed of the colours.
    """
    width, height = (size, round(size / ratio)) if ratio >= 1 else (round(size * ratio), size)
    generator = np.random.default_rng(seed)
    palette = generator.integers(0, 256, (16, 3), dtype=np.uint8)
    tiles = generator.integers(0, 16, (height // 7 + 1, width // 7 + 1))
    return Picture(palette[tiles.repeat(7, 0).repeat(7, 1)[:height, :width]])


class Checks:
    """The checks of one family, on a model in this process and the same model on a server.

    Args:
        miniature: the family.
        size: the profile's frame size.
        local: the model in this process; a vision model has the adapter `evidence`.
        served: the same on a server.
    """

    def __init__(self, miniature: Miniature, size: int, local: TransformersModel, served: OpenAIModel):
        self.miniature, self.size, self.local, self.served = miniature, size, local, served
        self.processor = local._engine().processor
        # A reply to SmolVLM's template starts with a space, which a server's constraint forbids.
        self.chooses = not self.processor.reply_prefix
        self.frames = [
            {"picture": _picture(size, 16 / 9, number), "time": 1.5 * number, "name": "the video"}
            for number in range(MANY_FRAMES)
        ]
        captions = [
            {"number": number, "time": 2.0 * number, "text": f"A dog runs to door {number}.", "name": "the video"}
            for number in (1, 2, 3)
        ]
        select = prompts.render("select", style="general", captions=captions, question=QUESTION, budget=2).messages
        self.conversations: list[Conversation] = [select]
        if miniature.vision:
            self.conversations += [[Message("user", (_picture(size, ratio), "What?"))] for ratio in SHAPES.values()]
            self.conversations += [self.evidence(self.frames[:count]) for count in FRAMES]

    def evidence(self, frames: Sequence[Any]) -> Conversation:
        """Return the prompt of the node `evidence`."""
        return prompts.render("evidence", style="general", frames=list(frames), question=QUESTION).messages

    async def run(self) -> list[str]:
        """Return the cells of the table but for name and adapter."""
        try:
            return [*await self.tokens(), await self.context(), self.prompts(), await self.replies()]
        finally:
            await self.served.disconnect()

    def expanded(self, messages: Conversation) -> int:
        """Return the length of the prompt that the processor of transformers makes."""
        prompt = self.processor.render(messages)
        pictures = [part.pixels for message in messages for part in message.content if isinstance(part, Picture)]
        if not pictures:
            return len(self.processor.tokenizer(prompt, add_special_tokens=False).input_ids)
        options = self.processor._image_options
        return int(self.processor.processor(text=[prompt], images=[pictures], return_tensors="pt", **options).input_ids.shape[1])

    async def tokens(self) -> tuple[str, str]:
        """Compare three counts of the tokens of each prompt."""
        counts = []
        for messages in self.conversations:
            reply = await self.served.chat(messages, max_tokens=1)
            counts.append((self.local.count_tokens(messages).total, self.expanded(messages), reply.tokens_in))
        if wrong := [each for each in counts if len(set(each)) > 1]:
            return "FAILED", f"FAILED: counted, expanded, served: {wrong}"
        if not self.miniature.vision:
            return "", f"{counts[0][0]} (select)"
        text = self.local.count_tokens([Message("user", ("What?",))]).total
        shapes = {name: count[0] - text for name, count in zip(SHAPES, counts[1:], strict=False)}
        allowed = self.served.count_tokens([Message("user", (_picture(self.size, 1.0),))]).visual
        cell = ", ".join(f"{tokens} ({name})" for name, tokens in shapes.items())
        verdict = f"{cell}; at most {allowed}" if max(shapes.values()) <= allowed else f"FAILED: {cell}, not {allowed}"
        return verdict, ", ".join(str(count[0]) for count in counts[-len(FRAMES) :])

    async def context(self) -> str:
        """Send the longest prompt that the estimate for servers lets pass."""
        if not self.miniature.vision:
            return ""
        kept, messages, _ = fit_frames(self.evidence, self.frames, self.served, EVIDENCE_TOKENS)
        here, _, _ = fit_frames(self.evidence, self.frames, self.local, EVIDENCE_TOKENS)
        used = (await self.served.chat(messages, max_tokens=1)).tokens_in
        limit = self.served.context_length
        verdict = "" if used + EVIDENCE_TOKENS <= limit else "FAILED: "
        return f"{verdict}{used} + {EVIDENCE_TOKENS} of {limit} with {len(kept)} frames served; {len(here)} here"

    def prompts(self) -> str:
        """Check that rendered prompts hold all parts in order, and that a reply ends its turn."""
        for messages in self.conversations:
            rendered, place = self.processor.render(messages), 0
            for part in (part for message in messages for part in message.content):
                text = part.strip() if isinstance(part, str) else self.processor.processor.image_token
                place = rendered.find(text, place) + 1
                if not place:
                    return f"FAILED: {text[:40]!r} is missing or out of order"
        reply = f"{self.processor.reply_prefix}A dog.{self.processor.tokenizer.eos_token}"
        return "in order" if self.processor.render_reply("A dog.") == reply else f"FAILED: a reply does not end as {reply!r}"

    async def replies(self) -> str:
        """Compare replies in this process with served ones, with and without the adapter."""
        texts: dict[str | None, list[str]] = {}
        different, total = [], 0
        for adapter in (None, "evidence") if self.miniature.vision else (None,):
            plain = [(messages, {"max_tokens": REPLY_TOKENS}) for messages in self.conversations]
            last = self.conversations[-1]
            json_reply = [(last, {"schema": FrameChoice, "max_tokens": 64})]
            letters = [(last, {"choices": ("A", "B", "C")})] if self.chooses else []
            for messages, options in [*plain, *json_reply, *letters]:
                here = (await self.local.chat(messages, adapter=adapter, **options)).text  # type: ignore[arg-type]
                there = (await self.served.chat(messages, adapter=adapter, **options)).text  # type: ignore[arg-type]
                total += 1
                texts.setdefault(adapter, []).append(here)
                if here != there:
                    different.append(f"{here!r} here and {there!r} served")
                    print(f"{self.miniature.name} {adapter} {options}: {different[-1]}", file=sys.stderr, flush=True)
        if different:
            return f"FAILED: {len(different)} of {total} differ, such as {different[0]}"
        if len(texts) == 1:
            return f"{total} of {total} equal"
        changed = sum(one != other for one, other in zip(*texts.values(), strict=True))
        return f"{total} of {total} equal; the adapter changes {changed} of {total // 2}"


def embed(folder: Path) -> list[str]:
    """Embed a short and a long text with both embedders, as the profiles configure them."""
    lines = []
    for name, build in (("laptop", miniatures.build_bge_small), ("paper", miniatures.build_bge_m3)):
        role = profiles.load(name).embedder
        assert isinstance(role, LocalEmbedder)
        path = build(folder / role.model.rpartition("/")[2])
        embedder = TransformersEmbedder(role.model_copy(update={"model": str(path)}))
        vectors = asyncio.run(embedder.embed(["A dog barks.", "a dog barks at the door " * 2000]))
        lengths = np.linalg.norm(vectors, axis=1)
        verdict = "unit vectors" if np.allclose(lengths, 1, atol=1e-4) else f"FAILED: lengths {lengths}"
        lines.append(f"{role.model} (`{name}`): {verdict} for 3 and for 12,000 words")
    return lines


def ask(folder: Path) -> str:
    """Ask a question from the command line, with a copy of the profile `laptop`."""
    with tempfile.TemporaryDirectory() as temporary:
        clip, profile = Path(temporary) / "clip.mp4", Path(temporary) / "laptop.toml"
        world.demo_clip(clip, seed=1)
        text = (ROOT / "espresso" / "profiles" / "laptop.toml").read_text(encoding="utf-8")
        for miniature in (miniatures.SMOLVLM, miniatures.QWEN3_VL):
            text = text.replace(miniature.hub_name, str(miniatures.build(miniature, folder / miniature.name)))
        profile.write_text(text, encoding="utf-8")
        options = ("--option", "it sees a cat", "--option", "it is hungry")
        answer = json.loads(_run("ask", clip, QUESTION, *options, "--profile", profile))
    steps = ", ".join(f"{step['node']} {step['tokens_in']}" for step in answer["trace"])
    roles = ", ".join(answer["usage"]["tflops"])
    return (
        f"`espresso ask` with `laptop`: option {answer['choice']}, {len(answer['captions'])} captions, "
        f"{len(answer['core_frames'])} core frames, prompt tokens by node: {steps}; operations counted: {roles}"
    )


def finetune(folder: Path) -> Iterator[str]:
    """Train two steps of each stage from the command line, with a copy of `laptop.yaml`."""
    with tempfile.TemporaryDirectory() as temporary:
        config = yaml.safe_load((ROOT / "finetune" / "configs" / "lora" / "laptop.yaml").read_text(encoding="utf-8"))
        model = miniatures.build(miniatures.QWEN3_VL, folder / miniatures.QWEN3_VL.name)
        config |= {"model": str(model), "output": f"{temporary}/lora", "batch": 2, "data": [{"format": "world", "count": 8}]}
        file = Path(temporary) / "laptop.yaml"
        file.write_text(yaml.safe_dump(config), encoding="utf-8")
        for stage in ("evidence", "answer"):
            result = json.loads(_run("finetune", stage, file, "--steps", "2"))
            agree = f"adapter and merged weights agree on {result['merged']:.0%} of the tokens"
            yield f"`espresso finetune {stage}` with `laptop.yaml`: {result['steps']} steps, {agree}"


def _run(*words: object) -> str:
    """Run `espresso` and return its output."""
    command = [str(Path(sys.executable).with_name("espresso")), *map(str, words), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    main()

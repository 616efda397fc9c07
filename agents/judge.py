"""Judge an answer beside a reference: four criteria and an overall score, 1 to 10 each (VideoEspresso, Figure 10 and Table 2).

    judge = Judge.of(profile, roles, samples=3, temperature=0.7)
    judged = await judge.score("Why does the ball stop?", "it hits a wall", "a wall is in its way")
    judged.verdict, judged.faults

A judge is asked several times, and the median counts. A reply that cannot be read, after it was asked for once more, is no score.
What is judged is data: the prompt quotes it so that it can neither end its quotation nor speak for us.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from statistics import median
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, Field, ValidationError

import prompts
from agents.answer.context import Run
from agents.answer.state import AnswerState, AnswerUpdate
from agents.trace import step
from espresso.cache import Cache, ReplyKey
from espresso.errors import ModelError, ProfileError, ServerDownError
from espresso.models import ChatModel, Completion, Roles
from espresso.profiles import Profile
from espresso.profiles.weights import identity
from espresso.schema import Record, Verdict

CRITERIA = ("logic", "factuality", "accuracy", "conciseness", "overall")
"""The columns of Table 2, in its order."""
MAX_TOKENS = 640
"""Of a reply: five short reasons with their scores take half of it."""
SAMPLES = 3
TEMPERATURE = 0.7
"""High enough for the samples to differ where the judge is unsure."""
_AGAIN = 1_000_003  # added to the seed of a reply that is asked for once more, lest it come out the same


class Criterion(BaseModel):
    """One score, thought before it is given."""

    reason: str
    score: int = Field(ge=1, le=10)


class Judgement(BaseModel):
    """A judge's reply about one answer."""

    logic: Criterion
    factuality: Criterion
    accuracy: Criterion
    conciseness: Criterion
    overall: Criterion


class Preference(BaseModel):
    """A judge's reply about two answers."""

    reason: str
    better: Literal["first", "second", "tie"]


Reply = TypeVar("Reply", bound=BaseModel)


class Judged(Record):
    """What became of one answer.

    verdict: the median of the samples; None where it is unscored, because no reply could be read. samples: each reply that was.
    faults: why each of the others was not. tokens_in, tokens_out: of all that was asked for it now. cached: replies known before.
    """

    verdict: Verdict | None
    samples: tuple[Judgement, ...] = ()
    faults: tuple[str, ...] = ()
    tokens_in: int = 0
    tokens_out: int = 0
    cached: int = 0
    requests: tuple[str, ...] = ()

    @property
    def error(self) -> str | None:
        """Why it is unscored."""
        return None if self.verdict else self.faults[0]


class Preferred(NamedTuple):
    """Which of two answers is better, asked in both orders.

    better: the one that both orders prefer; a "tie" where they do not agree (`flipped`) or neither is better; None where a reply
    could not be read (`faults`). places: what each order's reply preferred, by the place at which it was shown.
    """

    better: Literal["first", "second", "tie"] | None
    flipped: bool
    reasons: tuple[str, ...]
    faults: tuple[str, ...]
    places: tuple[Literal["first", "second", "tie"], ...] = ()


@dataclass(frozen=True)
class _Read(Generic[Reply]):
    """One reply: read, or the fault that it has. completions: what was asked for it; none where it was known."""

    parsed: Reply | None
    fault: str | None
    completions: tuple[Completion, ...] = ()


@dataclass(frozen=True)
class Judge:
    """A model that judges, and how it is asked.

    name: tells its weights apart, adapter included. style: of its prompts. samples: how often it is asked about an answer, each
    time with the next seed. cache: where its replies are kept, so that none is paid for twice.
    """

    model: ChatModel
    name: str
    style: prompts.Style = "general"
    adapter: str | None = None
    samples: int = SAMPLES
    temperature: float = TEMPERATURE
    seed: int = 0
    cache: Cache | None = None

    @classmethod
    def of(cls, profile: Profile, roles: Roles, **settings: Any) -> Judge:
        """Make the profile's judge. settings: samples, temperature, seed, cache. Raises ProfileError where it has none."""
        if roles.judge is None:
            raise ProfileError(
                f"profile {profile.name}: it has no judge. Add a [judge] to it, or judge with another profile, such as api."
            )
        adapter = roles.adapters.get("judge")
        trained = profile.judge.adapters.get("judge") if profile.judge else None
        name = identity(trained) if adapter and trained else roles.judge.name
        return cls(roles.judge, name, style=profile.prompts, adapter=adapter, **settings)

    def prompt(self, question: str, reference: str, answer: str, frames: Sequence[Any] = ()) -> prompts.Prompt:
        """What the judge is asked. frames: with their `picture` and `time` in seconds, to be shown to a judge that sees."""
        return prompts.render("judge", style=self.style, **_about(question, reference, frames, answer=answer))

    async def score(self, question: str, reference: str, answer: str, frames: Sequence[Any] = ()) -> Judged:
        """Score one answer beside the reference; see `prompt`. Raises ServerDownError; any other failure is a reply's fault."""
        inputs = _about(question, reference, frames, answer=answer)
        seeds = range(self.seed, self.seed + self.samples)
        read = await asyncio.gather(*(self._reply("judge", Judgement, seed, inputs) for seed in seeds))
        samples = tuple(each.parsed for each in read if each.parsed)
        asked = [completion for each in read for completion in each.completions]
        return Judged(
            verdict=_median(samples) if samples else None,
            samples=samples,
            faults=tuple(each.fault for each in read if each.fault),
            tokens_in=sum(completion.tokens_in for completion in asked),
            tokens_out=sum(completion.tokens_out for completion in asked),
            cached=sum(each.parsed is not None and not each.completions for each in read),
            requests=tuple(name for completion in asked for name in completion.requests),
        )

    async def compare(self, question: str, reference: str, first: str, second: str, frames: Sequence[Any] = ()) -> Preferred:
        """Say which of two answers is better: asked in both orders, and where the place decides it is a tie.

        Raises ServerDownError, and ProfileError for a judge that has not learnt to compare (`tiny` has not).
        """
        if self.style == "tiny":
            raise ProfileError(f"{self.name}: this judge scores one answer at a time. Compare with another profile, such as api.")
        orders = (_about(question, reference, frames, first=one, second=two) for one, two in ((first, second), (second, first)))
        there, back = await asyncio.gather(*(self._reply("compare", Preference, self.seed, inputs) for inputs in orders))
        replies = [each.parsed for each in (there, back) if each.parsed]
        reasons = tuple(reply.reason for reply in replies)
        if len(replies) < 2:
            return Preferred(None, False, reasons, tuple(each.fault for each in (there, back) if each.fault))
        one, other = replies[0].better, {"first": "second", "second": "first", "tie": "tie"}[replies[1].better]
        return Preferred(one if one == other else "tie", one != other, reasons, (), tuple(reply.better for reply in replies))

    async def _reply(self, name: str, schema: type[Reply], seed: int, inputs: dict[str, Any]) -> _Read[Reply]:
        """Look one reply up, or ask for it, and once more where it cannot be read."""
        prompt = prompts.render(name, style=self.style, **inputs)
        key = ReplyKey(self.name, _digest(prompt.messages), self.temperature, seed)
        known = self.cache.reply(key) if self.cache else None
        if known is not None and (parsed := _parsed(schema, known)[0]):
            return _Read(parsed, None)
        completions: list[Completion] = []
        try:
            for shift in (0, _AGAIN):
                completion = await self._ask(prompt, schema, seed + shift)
                completions.append(completion)
                parsed, fault = _parsed(schema, completion.text)
                if parsed:
                    if self.cache:
                        self.cache.keep_reply(key, completion.text)
                    return _Read(parsed, None, tuple(completions))
                prompt = prompts.render(name, style=self.style, **inputs, reply=completion.text, fault=fault)
        except ServerDownError:
            raise
        except ModelError as error:
            fault = str(error)
        else:
            fault = f"the reply cannot be read ({fault}): {' '.join(completion.text.split())[:80]!r}"
        return _Read(None, fault, tuple(completions))

    async def _ask(self, prompt: prompts.Prompt, schema: type[BaseModel], seed: int) -> Completion:
        return await self.model.chat(
            prompt.messages,
            schema=schema,
            adapter=self.adapter,
            max_tokens=MAX_TOKENS,
            temperature=self.temperature,
            seed=seed,
        )


async def judge(state: AnswerState, run: Run) -> AnswerUpdate:
    """Fill `verdict` from the answer and its reference; an answer that cannot be scored is a note, not an error."""
    judge = Judge.of(run.settings, run.roles, cache=run.cache)
    try:
        judged = await judge.score(state.question.text, state.reference or "", state.text)
    except ServerDownError as error:
        judged = Judged(verdict=None, faults=(str(error),))
    counted = Completion("", tokens_in=judged.tokens_in, tokens_out=judged.tokens_out, requests=judged.requests)
    notes = [f"unscored: {judged.error}" if judged.error else None]
    prompt = prompts.digest("judge", style=judge.style)
    done = step("judge", [counted], model=judge.model, prompt=prompt, saved=[Completion("")] * judged.cached, notes=notes)
    return AnswerUpdate(verdict=judged.verdict, trace=done)


def _about(question: str, reference: str, frames: Sequence[Any], **answers: str) -> dict[str, Any]:
    return {"question": question, "reference": reference, "frames": list(frames), **answers}


def _median(samples: Sequence[Judgement]) -> Verdict:
    """Take the median of each criterion, with the reason of the sample that is nearest to it."""
    scores: dict[str, float] = {}
    reasons: dict[str, str] = {}
    for name in CRITERIA:
        given: list[Criterion] = [getattr(sample, name) for sample in samples]
        middle = float(median(each.score for each in given))
        scores[name] = middle
        reasons[name] = min(given, key=lambda each: abs(each.score - middle)).reason
    return Verdict(**scores, reasons=reasons)


def _parsed(schema: type[Reply], text: str) -> tuple[Reply | None, str]:
    """Read a reply, or say what is wrong with it."""
    try:
        return schema.model_validate_json(text), ""
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return None, f"{where}: {first['msg']}" if where else first["msg"]


def _digest(messages: Iterable[Any]) -> str:
    """SHA-256 over all that a prompt shows, pictures by their pixels."""
    digest = sha256()
    for message in messages:
        for part in (message.role, *message.content):
            shown = part.encode() if isinstance(part, str) else str(part.pixels.shape).encode() + part.pixels.tobytes()
            digest.update(sha256(shown).digest())
    return digest.hexdigest()

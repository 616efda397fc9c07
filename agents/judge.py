"""Judge an answer against a reference: four criteria and an overall score, 1 to 10 each.

The criteria and the prompt follow VideoEspresso, Figure 10 and Table 2.

    with Session("api") as session:
        judge = Judge.from_session(session)
        result = session.run(judge.score("Why does it stop?", "it hits a wall", "a wall is there"))
    result.verdict, result.faults

A judge is sampled several times and the median counts. A reply that cannot be parsed is requested
once more; if that fails too, it does not count. Question, reference and answer are data: the prompt
quotes them so that their text cannot end the quotation or add a message.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from statistics import median
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError

import prompts
from agents.answer.context import AnswerContext, ShownFrame
from agents.answer.state import AnswerState, AnswerUpdate
from agents.session import Session
from agents.trace import make_step
from espresso.cache import Cache, ReplyKey
from espresso.errors import ModelError, ProfileError, ServerDownError
from espresso.models import ChatModel, Completion
from espresso.options import JUDGE_SAMPLES, JUDGE_TEMPERATURE
from espresso.profiles.weights import identity
from espresso.replies import parse_json
from espresso.schema import Record, Verdict

CRITERIA = ("logic", "factuality", "accuracy", "conciseness", "overall")
"""The columns of Table 2, in its order."""

MAX_TOKENS = 640
"""Maximum length of a reply in tokens: twice the length of five short reasons with their scores."""

_RETRY_SEED = 1_000_003  # added to the seed of the second attempt, which would otherwise repeat the first


class Criterion(BaseModel):
    """One score. The reason comes first, so that the judge reasons before it scores."""

    reason: str
    score: int = Field(ge=1, le=10)


class Judgement(BaseModel):
    """A judge's reply about one answer."""

    logic: Criterion
    factuality: Criterion
    accuracy: Criterion
    conciseness: Criterion
    overall: Criterion


class PairReply(BaseModel):
    """A judge's reply about two answers."""

    reason: str
    better: Literal["first", "second", "tie"]


Reply = TypeVar("Reply", bound=BaseModel)


class JudgeResult(Record):
    """The scores of one answer and what they cost."""

    verdict: Verdict | None
    """The median of the samples; None if no reply could be parsed."""

    samples: tuple[Judgement, ...] = ()
    """The replies that could be parsed."""

    faults: tuple[str, ...] = ()
    """For each other reply, the reason why it could not."""

    tokens_in: int = 0
    """Prompt tokens of all requests, retries included. Cached replies cost nothing."""

    tokens_out: int = 0
    """Completion tokens of all requests, retries included."""

    cached: int = 0
    """Number of replies from the cache."""

    requests: tuple[str, ...] = ()
    """The server's request ids, to find the requests in its log."""

    @property
    def error(self) -> str | None:
        """Why the answer is unscored; None if it is scored."""
        return None if self.verdict else self.faults[0]


@dataclass(frozen=True)
class PairResult:
    """Which of two answers is better, asked in both orders."""

    better: Literal["first", "second", "tie"] | None
    """The answer that wins in both orders, else "tie"; None if a reply could not be parsed."""

    flipped: bool
    """Whether the two orders disagree."""

    reasons: tuple[str, ...]
    """The reasons of the replies."""

    faults: tuple[str, ...]
    """Why replies could not be parsed."""

    positions: tuple[Literal["first", "second", "tie"], ...] = ()
    """The position that won in each order: "first" is the answer that was shown first."""


@dataclass(frozen=True)
class _ParsedReply(Generic[Reply]):
    """One reply, or the reason why there is none."""

    parsed: Reply | None
    fault: str | None
    completions: tuple[Completion, ...] = ()  # of the requests; empty for a cached reply


@dataclass(frozen=True)
class Judge:
    """A model that judges, with the settings of its prompts and its sampling."""

    model: ChatModel
    """The model."""

    name: str
    """Name that identifies the weights, adapter included; part of the cache key."""

    style: prompts.Style = "general"
    """Style of the prompt templates."""

    adapter: str | None = None
    """Name of the adapter to use; None is the base model."""

    samples: int = JUDGE_SAMPLES
    """Replies for each answer; each has its own seed."""

    temperature: float = JUDGE_TEMPERATURE
    """Sampling temperature."""

    seed: int = 0
    """Seed of the first sample; each further sample adds one."""

    cache: Cache | None = None
    """Where replies are cached, so that none is paid for twice; None caches nothing."""

    compares: bool = True
    """Whether the judge can compare two answers (`Profile.judge_compares`)."""

    @classmethod
    def from_session(
        cls,
        session: Session,
        *,
        samples: int = JUDGE_SAMPLES,
        temperature: float = JUDGE_TEMPERATURE,
        seed: int = 0,
    ) -> Judge:
        """Return the judge of a session's profile.

        Args:
            session: provides the model, its adapter and the cache.
            samples: replies for each answer.
            temperature: sampling temperature.
            seed: seed of the first sample.

        Raises:
            ProfileError: the profile has no judge.
        """
        profile, roles = session.profile, session.roles
        if roles.judge is None:
            raise ProfileError(
                f"profile {profile.name} has no judge. Add a [judge] section, or use a profile with a judge, such as api."
            )
        adapter = roles.adapters.get("judge")
        weights = profile.judge.adapters.get("judge") if profile.judge else None
        return cls(
            roles.judge,
            identity(weights) if adapter and weights else roles.judge.name,
            style=profile.prompts,
            adapter=adapter,
            samples=samples,
            temperature=temperature,
            seed=seed,
            cache=session.cache,
            compares=profile.judge_compares,
        )

    def prompt(self, question: str, reference: str, answer: str, frames: Sequence[ShownFrame] = ()) -> prompts.Prompt:
        """Return the prompt of `score`, for example to count its tokens."""
        return prompts.render("judge", style=self.style, **_inputs(question, reference, frames, answer=answer))

    async def score(self, question: str, reference: str, answer: str, frames: Sequence[ShownFrame] = ()) -> JudgeResult:
        """Score an answer against the reference.

        Args:
            question: the question's text.
            reference: the reference answer.
            answer: the answer to score.
            frames: frames to show to a judge that accepts pictures.

        Raises:
            ServerDownError: the judge's server does not answer. Any other failure is a fault in the
                result.
        """
        inputs = _inputs(question, reference, frames, answer=answer)
        seeds = range(self.seed, self.seed + self.samples)
        replies = await asyncio.gather(*(self._reply("judge", Judgement, seed, inputs) for seed in seeds))
        samples = tuple(reply.parsed for reply in replies if reply.parsed)
        completions = [completion for reply in replies for completion in reply.completions]
        return JudgeResult(
            verdict=_median(samples) if samples else None,
            samples=samples,
            faults=tuple(reply.fault for reply in replies if reply.fault),
            tokens_in=sum(completion.tokens_in for completion in completions),
            tokens_out=sum(completion.tokens_out for completion in completions),
            cached=sum(reply.parsed is not None and not reply.completions for reply in replies),
            requests=tuple(name for completion in completions for name in completion.requests),
        )

    async def compare(
        self, question: str, reference: str, first: str, second: str, frames: Sequence[ShownFrame] = ()
    ) -> PairResult:
        """Decide which of two answers is better: in both orders, and a tie if they disagree.

        Args:
            question: the question's text.
            reference: the reference answer.
            first: an answer.
            second: another answer.
            frames: frames to show to a judge that accepts pictures.

        Raises:
            ProfileError: this judge cannot compare answers.
            ServerDownError: the judge's server does not answer.
        """
        if not self.compares:
            raise ProfileError(
                f"{self.name} scores one answer at a time and cannot compare two. Use another profile's judge, such as api."
            )
        orders = (_inputs(question, reference, frames, first=one, second=two) for one, two in ((first, second), (second, first)))
        replies = await asyncio.gather(*(self._reply("compare", PairReply, self.seed, inputs) for inputs in orders))
        parsed = [reply.parsed for reply in replies if reply.parsed]
        reasons = tuple(reply.reason for reply in parsed)
        if len(parsed) < 2:
            return PairResult(None, False, reasons, tuple(reply.fault for reply in replies if reply.fault))
        one, other = parsed[0].better, {"first": "second", "second": "first", "tie": "tie"}[parsed[1].better]
        positions = tuple(reply.better for reply in parsed)
        return PairResult(parsed[0].better if one == other else "tie", one != other, reasons, (), positions)

    async def _reply(self, template: str, schema: type[Reply], seed: int, inputs: dict[str, Any]) -> _ParsedReply[Reply]:
        """Return a cached reply, or request one; retry once if it cannot be parsed."""
        prompt = prompts.render(template, style=self.style, **inputs)
        key = ReplyKey(self.name, _digest(prompt.messages), self.temperature, seed)
        cached = await asyncio.to_thread(self.cache.reply, key) if self.cache else None
        if cached is not None and (parsed := _parse(schema, cached)[0]):
            return _ParsedReply(parsed, None)
        completions: list[Completion] = []
        try:
            for shift in (0, _RETRY_SEED):
                completion = await self._request(prompt, schema, seed + shift)
                completions.append(completion)
                parsed, fault = _parse(schema, completion.text)
                if parsed:
                    if self.cache:
                        await asyncio.to_thread(self.cache.put_reply, key, completion.text)
                    return _ParsedReply(parsed, None, tuple(completions))
                prompt = prompts.render(template, style=self.style, **inputs, reply=completion.text, fault=fault)
        except ServerDownError:
            raise
        except ModelError as error:
            fault = str(error)
        else:
            fault = f"cannot parse the reply ({completion.fault or fault}): {' '.join(completion.text.split())[:80]!r}"
        return _ParsedReply(None, fault, tuple(completions))

    async def _request(self, prompt: prompts.Prompt, schema: type[BaseModel], seed: int) -> Completion:
        return await self.model.chat(
            prompt.messages,
            schema=schema,
            adapter=self.adapter,
            max_tokens=MAX_TOKENS,
            temperature=self.temperature,
            seed=seed,
        )


async def judge(state: AnswerState, context: AnswerContext) -> AnswerUpdate:
    """Fill `verdict`; if the answer cannot be scored, the trace notes why."""
    judge = Judge.from_session(context.session)
    try:
        result = await judge.score(state.question.text, state.reference or "", state.text)
    except ServerDownError as error:
        result = JudgeResult(verdict=None, faults=(str(error),))
    completion = Completion("", tokens_in=result.tokens_in, tokens_out=result.tokens_out, requests=result.requests)
    notes = [f"unscored: {result.error}" if result.error else None]
    prompt = prompts.digest("judge", style=judge.style)
    step = make_step("judge", [completion], model=judge.model, prompt=prompt, saved=[Completion("")] * result.cached, notes=notes)
    return AnswerUpdate(verdict=result.verdict, trace=step)


def _inputs(question: str, reference: str, frames: Sequence[ShownFrame], **answers: str) -> dict[str, Any]:
    return {"question": question, "reference": reference, "frames": list(frames), **answers}


def _median(samples: Sequence[Judgement]) -> Verdict:
    """Take the median of each criterion, with the reason of the sample nearest to it."""
    scores: dict[str, float] = {}
    reasons: dict[str, str] = {}
    for name in CRITERIA:
        criteria: list[Criterion] = [getattr(sample, name) for sample in samples]
        middle = float(median(criterion.score for criterion in criteria))
        scores[name] = middle
        reasons[name] = min(criteria, key=lambda criterion: abs(criterion.score - middle)).reason
    return Verdict(**scores, reasons=reasons)


def _parse(schema: type[Reply], text: str) -> tuple[Reply | None, str]:
    """Parse a reply; if it is invalid, return the reason instead."""
    try:
        return parse_json(schema, text), ""
    except ValidationError as error:
        first = error.errors()[0]
        location = ".".join(str(part) for part in first["loc"])
        return None, f"{location}: {first['msg']}" if location else first["msg"]


def _digest(messages: Iterable[Any]) -> str:
    """Return the SHA-256 of everything that a prompt shows; pictures count by their pixels."""
    digest = sha256()
    for message in messages:
        for part in (message.role, *message.content):
            content = part.encode() if isinstance(part, str) else str(part.pixels.shape).encode() + part.pixels.tobytes()
            digest.update(sha256(content).digest())
    return digest.hexdigest()

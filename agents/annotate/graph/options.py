"""The nodes that make options: three wrong ones, and a check that the video is needed."""

from __future__ import annotations

from math import exp

from agents.annotate.graph.context import AnnotateContext
from agents.annotate.graph.nodes import FILTER_TOKENS, Tasks
from agents.annotate.graph.replies import Distractors, Review
from agents.annotate.graph.state import CheckTask, Distractor, Fault, Guess, GuessTask, PairTask, Update
from agents.annotate.graph.writer import ask_writer
from agents.trace import fit_prompt, make_step
from espresso.errors import ModelError, ServerDownError
from espresso.schema import letter

DISTRACTORS = 3
"""Wrong options of a question, as in VideoEspresso's test set."""
DISTRACT_TOKENS, GUESS_TOKENS = 256, 128
"""Maximum length of the replies."""


async def distract(task: PairTask, context: AnnotateContext) -> tuple[Update, Tasks]:
    """Write three wrong answers."""
    pair = task.pair
    reply, step = await ask_writer(
        "distract", Distractors, context, task.group, max_tokens=DISTRACT_TOKENS, question=pair.question, answer=pair.answer
    )
    if isinstance(reply, str):
        return {"faults": {pair.id: Fault(node="distract", reason=reply)}, "trace": (step,)}, []
    different = {text.strip().casefold(): text.strip() for text in reversed(reply.distractors) if text.strip()}
    different.pop(pair.answer.casefold(), None)
    texts = list(reversed(different.values()))[:DISTRACTORS]
    if len(texts) < DISTRACTORS:
        reason = f"only {len(texts)} of {DISTRACTORS} distractors differ from each other and from the answer"
        return {"faults": {pair.id: Fault(node="distract", reason=reason)}, "trace": (step,)}, []
    tasks: Tasks = [
        ("check", CheckTask(pair=pair, group=task.group, position=position, text=text)) for position, text in enumerate(texts)
    ]
    options = (pair.answer, *texts)
    orders = (options,) if context.session.profile.choose == "texts" else (options, options[::-1])
    tasks += [("guess", GuessTask(pair=pair, options=each)) for each in orders]
    return {"trace": (step,)}, tasks


async def check(task: CheckTask, context: AnnotateContext) -> tuple[Update, Tasks]:
    """Review the question with a distractor as its answer: it must not be consistent."""
    reply, step = await ask_writer(
        "filter",
        Review,
        context,
        task.group,
        max_tokens=FILTER_TOKENS,
        node="check",
        question=task.pair.question,
        answer=task.text,
    )
    review = None if isinstance(reply, str) else reply
    return {
        "distractors": (Distractor(pair=task.pair.id, position=task.position, text=task.text, review=review),),
        "trace": (step,),
    }, []


async def guess(task: GuessTask, context: AnnotateContext) -> tuple[Update, Tasks]:
    """Let the reasoner choose an option without the video; note the probability of the answer."""
    roles, profile, pair = context.session.roles, context.session.profile, task.pair
    by_text = profile.choose == "texts"
    names = list(task.options) if by_text else [letter(position) for position in range(len(task.options))]
    listed = [] if by_text else [{"letter": name, "text": text} for name, text in zip(names, task.options, strict=True)]
    try:
        _, prompt, _ = await fit_prompt(
            "answer",
            [],
            roles.reasoner,
            listed_as="frames",
            style=profile.prompts,
            max_tokens=GUESS_TOKENS,
            question=pair.question,
            evidence="",
            options=listed,
        )
        reply = await roles.reasoner.chat(
            prompt.messages, choices=names, adapter=roles.adapters.get("answer"), max_tokens=GUESS_TOKENS
        )
    except ServerDownError:
        raise
    except ModelError as error:
        return {
            "faults": {pair.id: Fault(node="guess", reason=str(error))},
            "trace": make_step("guess", model=roles.reasoner, notes=[str(error)]),
        }, []
    right = names[task.options.index(pair.answer)]
    probability = exp(reply.logprobs[right]) if right in reply.logprobs else float(reply.text == right)
    return {
        "guesses": (Guess(pair=pair.id, probability=probability),),
        "trace": make_step("guess", [reply], model=roles.reasoner, prompt=prompt.hash),
    }, []

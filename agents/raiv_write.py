"""Write statements about pairs of images and videos with a chat model: RAIV's "G" datasets (4.1).

    summary = write_statements(Path("pairs.jsonl"), Path("pairs-g.jsonl"), profile="api")

`espresso.datasets.raiv.contrast` chooses what each statement must say and of which pair it is then
false. The role `writer` of the profile gets the annotations of the two visuals, as text only. A
reply that cannot be used is requested once more, with the reason.

Next to the output is a work folder, `pairs-g.write`: `write.json` records the settings, and
`replies.jsonl` has one line per reply, written before anything else is requested for the same
statement. So an interrupted call is resumed by the same call and repeats no answered request.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import aclosing, nullcontext
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import BaseModel

import prompts
from agents.batch import bounded
from agents.budget import BudgetExceededError, TokenUsage, check_prices, prices_of, with_budget
from agents.session import Session
from espresso.datasets.raiv import RaivPair, files, read_pairs
from espresso.datasets.raiv.contrast import Brief, briefs, edit_briefs, fault
from espresso.datasets.raiv.pairs import COMMON, seven_one_two
from espresso.datasets.raiv.situations import SPLITS, Split
from espresso.datasets.raiv.statements import names
from espresso.errors import DataError, ModelError, ProfileError, ServerDownError
from espresso.log import JsonlLog, LogEntry
from espresso.models import ChatModel
from espresso.profiles import Profile
from espresso.schema import Record

MAX_TOKENS = 160
"""Maximum length of a reply in tokens."""

ATTEMPTS = 2
"""Requests for a statement: a reply that cannot be used is requested once more."""

TRIED, HOPELESS = 50, 0.9
"""Statements after which a writer is given up if at least this share of them cannot be used."""

SHOWN = 3
"""Reasons why statements could not be used that the summary lists."""

TEMPLATES = ("raiv/write", "raiv/edit")


class WrittenStatement(BaseModel):
    """The writer's reply."""

    statement: str


class WriteConfig(Record):
    """What identifies the replies: if any of it changes, they are not resumed."""

    profile: dict[str, Any]
    """The profile as JSON."""

    writer: str
    """Name of the writer, with a fingerprint of local weights."""

    prompts: dict[str, str]
    """Template -> hash."""

    briefs: str
    """Hash of what is asked, which follows from the pairs, their annotations and the seed."""


class Reply(LogEntry):
    """A line of `replies.jsonl`; `id` is the true pair's, with the number of the attempt."""

    statement: str = ""
    """What the writer wrote; "" if the reply could not be parsed."""

    fault: str | None = None
    """Why it cannot be used; None if it can."""

    answered: bool = True
    """Whether there is a reply. If the request failed, the next call makes it again."""

    tokens_in: int = 0
    tokens_out: int = 0

    requests: tuple[str, ...] = ()
    """The server's ids of the requests, as in its log."""


@dataclass(frozen=True)
class WriteProgress:
    """Progress of writing."""

    doing: str
    done: int
    total: int

    faults: int = 0
    """Statements that cannot be used."""

    dollars: float = 0.0
    """What the replies cost."""


class WriteSummary(Record):
    """What was written."""

    out: str
    """File of the pairs."""

    replies: str
    """File of all replies, those that cannot be used with the reason."""

    statements: int
    """Statements in the file; each has two pairs."""

    without_false_pair: int
    """True pairs of the built file for which no false pair was found."""

    unusable: int
    """Statements whose replies cannot be used."""

    retried: int
    """Replies that could not be used and were requested again."""

    repeated: int
    """Statements of val and test that were written before."""

    surplus: int
    """Usable statements that are left out so that the splits are 7:1:2."""

    faults: tuple[str, ...]
    """The first reasons why statements cannot be used."""

    dollars: float | None
    """What the replies cost, those of earlier calls too; None if the writer has no prices."""


def write_statements(
    pairs: Path,
    out: Path,
    *,
    annotations: Path | None = None,
    media: Path | None = None,
    profile: str | Path | Profile | None = None,
    session: Session | None = None,
    seed: int = 0,
    max_cost: float | None = None,
    on_progress: Callable[[WriteProgress], None] = lambda progress: None,
) -> WriteSummary:
    """Write a statement for each true pair of a file, and a new file of true and false pairs.

    Args:
        pairs: file that `espresso raiv build` wrote.
        out: JSONL file of the new pairs, replaced when the call ends.
        annotations: folder of the annotations of which the pairs were built; not for the world.
        media: folder of images and clips, as when the pairs were built.
        profile: a profile with a writer, its name or file. None is ESPRESSO_PROFILE, else `tiny`.
        session: the profile and models to use; `profile` is ignored then.
        seed: seed of the choice of facts and false pairs.
        max_cost: the most to spend in this call, in dollars; None is no limit.
        on_progress: called when a statement is done.

    Raises:
        DataError: a file is invalid or another process is writing, the work folder has other
            settings, or no statement can be used.
        ProfileError: the profile has no writer for such pairs, or no prices for `max_cost`.
        ModelError: the writer cannot be loaded.
        ServerDownError: the writer's server does not answer.
        BudgetExceededError: the next reply could cost more than what is left of `max_cost`.
    """
    folder = out.with_suffix(".write").absolute()
    if out.exists() and not (folder / "write.json").is_file():
        raise DataError(f"{out}: exists and was not written by `espresso raiv write`. Give another --out.")
    if not out.parent.is_dir():
        raise DataError(f"{out.parent}: no such folder. Create it, or use another --out.")
    with nullcontext(session) if session else Session(profile) as opened:
        read = list(read_pairs(pairs))
        writer = _writer(opened, max_cost, edits=any(pair.template == "edit" for pair in read))
        asked = _briefs(
            read, annotations, media, seed, lambda done, total: on_progress(WriteProgress("reading", done, total, 0, 0))
        )
        if not asked:
            raise DataError(f"{pairs}: no statement can be written about its pairs. Give a file with more pairs.")
        config = WriteConfig(
            profile=opened.profile.model_dump(mode="json"),
            writer=writer.name,
            prompts={name: prompts.digest(name, style=opened.profile.prompts) for name in _templates(opened.profile)},
            briefs=sha256("\n".join(map(repr, asked)).encode()).hexdigest()[:12],
        )
        with JsonlLog(folder, "write", config, lines="replies.jsonl", entry=Reply, done=lambda reply: reply.answered) as log:
            work = _Work(with_budget(opened, max_cost), log, on_progress, len(asked))
            opened.run(work.write_all(asked))
    kept, repeated = _different(asked, work.statements)
    sizes = seven_one_two(2 * len(kept), {split: 2 * sum(brief.pair.split == split for brief in kept) for split in SPLITS})
    chosen = [brief for split in SPLITS for brief in _of(kept, split)[: sizes[split] // 2]]
    faults = [f"{brief.pair.id}: {work.faults[brief.pair.id]}" for brief in asked if brief.pair.id in work.faults]
    if not chosen:
        why = f"; the first: {faults[0]}" if faults else ""
        raise DataError(f"{pairs}: not enough of {len(asked)} statements can be used in each of train, val and test{why}.")
    files.write(
        out, (pair for brief in chosen for pair in brief.pairs(work.statements[brief.pair.id], writer.name)), replace=True
    )
    return WriteSummary(
        out=str(out),
        replies=str(folder / "replies.jsonl"),
        statements=len(chosen),
        without_false_pair=sum(pair.label for pair in read) - len(asked),
        unusable=len(faults),
        retried=sum(reply.id.endswith("/2") for reply in work.replies.values()),
        repeated=repeated,
        surplus=len(kept) - len(chosen),
        faults=tuple(faults[:SHOWN]),
        dollars=work.dollars(),
    )


def _templates(profile: Profile) -> tuple[str, ...]:
    """Return the templates of a profile's style: the tiny writer knows no edited images."""
    return TEMPLATES[:1] if profile.prompts == "tiny" else TEMPLATES


def _writer(session: Session, max_cost: float | None, *, edits: bool) -> ChatModel:
    """Return the loaded writer of a session. Raises ProfileError or ModelError."""
    profile, writer = session.profile, session.roles.writer
    if writer is None:
        raise ProfileError(f"profile {profile.name} has no [writer] to write statements. Add one, or use another --profile.")
    if edits and "raiv/edit" not in _templates(profile):
        raise ProfileError(f"profile {profile.name}: its writer knows no edited images. Use another --profile, such as api.")
    if max_cost is not None:
        check_prices(profile, ("writer",))
    _ = writer.context_length  # loads a local model
    return writer


def _briefs(
    pairs: Sequence[RaivPair], annotations: Path | None, media: Path | None, seed: int, on_story: Callable[[int, int], None]
) -> list[Brief]:
    """Return what is asked about the pairs of a file. Raises DataError."""
    if other := next((pair for pair in pairs if pair.writer), None):
        raise DataError(f"{other.id}: a model wrote its statement. Give a file that `espresso raiv build` wrote.")
    edits = [pair for pair in pairs if pair.template == "edit"]
    others = [pair for pair in pairs if pair.template != "edit"]
    asked = list(edit_briefs(edits, files.load_edits(edits, annotations), seed)) if edits else []
    if others:
        situations = files.load_annotated(others, annotations, media, on_story)
        world = all(visual.path.startswith("world:") for visual in situations)
        asked += briefs(others, situations, seed, common=1.0 if world else COMMON)
    return asked


class _Work:
    """Writes statements and logs each reply."""

    def __init__(self, session: Session, log: JsonlLog[Reply], on_progress: Callable[[WriteProgress], None], total: int) -> None:
        assert session.roles.writer, "checked before"
        self.writer = session.roles.writer
        self.session, self.log, self.on_progress, self.total = session, log, on_progress, total
        self.prices = prices_of(session.profile, "writer")
        self.replies = dict[str, Reply]()
        self.tokens_in = self.tokens_out = 0
        for reply in log.entries:
            self._add(reply)
        self.statements = dict[str, str]()
        self.faults = dict[str, str]()

    async def write_all(self, asked: Sequence[Brief]) -> None:
        """Write all statements. Raises ServerDownError, BudgetExceededError and DataError."""
        try:
            async with aclosing(bounded(asked, self.write)) as done:
                async for _ in done:
                    self._report()
                    tried = len(self.faults) + len(self.statements)
                    if tried >= TRIED and len(self.faults) >= HOPELESS * tried:
                        share = f"{len(self.faults)} of the first {tried} statements of {self.writer.name}"
                        first = next(iter(self.faults.values()))
                        raise DataError(f"{share} cannot be used; the first: {first}. Use another --profile.")
        except (ServerDownError, BudgetExceededError) as error:
            kept = f"{len(self.statements)} of {self.total} statements are written"
            raise type(error)(f"{error} {kept}; run the same command again to resume.") from None

    async def write(self, brief: Brief) -> None:
        """Write one statement; what is logged is not asked again."""
        last = Reply(id="", fault="")
        for attempt in range(1, ATTEMPTS + 1):
            name = f"{brief.pair.id}/{attempt}"
            if name not in self.replies:
                reply = await self._ask(name, brief, last)
                self.log.append(reply)
                self._add(reply)
            last = self.replies[name]
            if last.fault is None:
                self.statements[brief.pair.id] = last.statement
                return
            if not last.answered:
                break
        self.faults[brief.pair.id] = last.fault or ""

    async def _ask(self, name: str, brief: Brief, last: Reply) -> Reply:
        """Request one statement; `last` is an earlier reply that cannot be used."""
        first, second = names(brief.pair.kind)
        given = {"annotations": (brief.first, brief.second), "words": brief.words, "edit": brief.edit, "where": brief.where}
        prompt = prompts.render(
            "raiv/edit" if brief.edit else "raiv/write",
            style=self.session.profile.prompts,
            first=first,
            second=second,
            statement=last.statement,
            fault=last.fault,
            **given,
        )
        try:
            reply = await self.writer.chat(prompt.messages, schema=WrittenStatement, max_tokens=MAX_TOKENS)
        except (ServerDownError, BudgetExceededError):
            raise
        except ModelError as error:
            return Reply(id=name, fault=str(error), answered=False)
        parsed = reply.parsed
        statement = " ".join(parsed.statement.split()) if isinstance(parsed, WrittenStatement) else ""
        unread = f"it could not be read ({reply.fault or 'not the JSON that was asked for'})"
        return Reply(
            id=name,
            statement=statement,
            fault=fault(statement, brief.words) if isinstance(parsed, WrittenStatement) else unread,
            tokens_in=reply.tokens_in,
            tokens_out=reply.tokens_out,
            requests=reply.requests,
        )

    def dollars(self) -> float | None:
        """Return what all replies cost; None if the writer has no prices."""
        return self.prices.dollars(TokenUsage(self.tokens_in, self.tokens_out)) if self.prices else None

    def _add(self, reply: Reply) -> None:
        self.replies[reply.id] = reply
        self.tokens_in += reply.tokens_in
        self.tokens_out += reply.tokens_out

    def _report(self) -> None:
        done = len(self.statements) + len(self.faults)
        self.on_progress(WriteProgress("writing", done, self.total, len(self.faults), self.dollars() or 0.0))


def _different(asked: Sequence[Brief], statements: dict[str, str]) -> tuple[list[Brief], int]:
    """Return the briefs with different statements, and the number of those that are repeated.

    In train, a statement may be repeated.
    """
    kept, seen, repeated = list[Brief](), set[tuple[Split, str]](), 0
    for brief in asked:
        if brief.pair.id not in statements:
            continue
        key = brief.pair.split, statements[brief.pair.id]
        if brief.pair.split != "train" and key in seen:
            repeated += 1
            continue
        seen.add(key)
        kept.append(brief)
    return kept, repeated


def _of(asked: Sequence[Brief], split: Split) -> list[Brief]:
    return [brief for brief in asked if brief.pair.split == split]

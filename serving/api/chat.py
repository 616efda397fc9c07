"""OpenAI's chat completions: from a request to an `AskRequest`, and from an `Answer` to a reply.

The last message of the user is the question. Images and videos of all its messages are the visuals.
The pipeline answers one question at a time: system messages and earlier turns are not read, and
`espresso.notes` of the reply says so.

The options of a multiple-choice question are, in this order: `espresso.options` of the request, the
`enum` of a field `answer` in `response_format`, or lettered lines in the text (see `options`). The
reply is the text of the chosen option, and its letter if the options are lettered lines.

Sampling parameters (temperature, seed, max_tokens, ...) have no effect: answers are deterministic.
"""

from __future__ import annotations

import time
import uuid
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from espresso.errors import QuestionError
from espresso.schema import Answer, Record
from serving.api.json_reply import JsonForm, ResponseFormat, json_form
from serving.api.options import split_options
from serving.errors import RequestError
from serving.service import AskRequest


class _Part(BaseModel):
    """A request's part; unknown fields are ignored, because vendors add their own."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Url(_Part):
    """Where an image or video is."""

    url: str
    """See `AskRequest.visuals`."""


class TextPart(_Part):
    """Text in a message."""

    type: Literal["text"]
    text: str


class ImagePart(_Part):
    """An image or video in a message."""

    type: Literal["image_url"]
    image_url: Url


class VideoPart(_Part):
    """A video in a message, as in vLLM and Qwen's services."""

    type: Literal["video_url"]
    video_url: Url


class File(_Part):
    """An upload, or the content of a file."""

    file_id: str | None = None
    """Id of an upload."""

    file_data: str | None = None
    """A data URL."""


class FilePart(_Part):
    """A file in a message."""

    type: Literal["file"]
    file: File


Part = Annotated[TextPart | ImagePart | VideoPart | FilePart, Field(discriminator="type")]


class ChatMessage(_Part):
    """A message of the conversation."""

    role: str
    content: str | tuple[Part, ...] | None = None


class StreamOptions(_Part):
    """Options of a stream."""

    include_usage: bool | None = False
    """Whether the stream ends with the usage."""


class ChatExtension(Record):
    """What a chat request can say in `espresso`, see `AskRequest`."""

    options: tuple[str, ...] | None = None
    """Two or more different texts to choose from."""

    frames: int | None = None
    """Most core frames to select, or the number of frames of `uniform`."""

    core_frames: tuple[float, ...] | None = None
    """Times in seconds of the core frames in the first visual."""

    evidence: str = ""
    """What to answer from."""

    reference: str | None = None
    """The correct answer, for a verdict."""

    allow_out_of_domain: bool = False
    """Whether to answer, with a warning, about visuals that the models do not know."""

    boxes: bool = False
    """Whether to locate the things that the evidence names."""


class ChatRequest(_Part):
    """A request of OpenAI's chat completions. Fields that are not listed have no effect."""

    model: str
    """A profile, or a profile and a strategy ("tiny/uniform")."""

    messages: tuple[ChatMessage, ...] = Field(min_length=1)

    stream: bool | None = False
    """Whether to send progress and answer as server-sent events."""

    stream_options: StreamOptions | None = None

    response_format: ResponseFormat | None = None

    n: int | None = 1
    """Number of answers; only 1 is supported."""

    tools: Any = None
    """Not supported."""

    functions: Any = None
    """Not supported."""

    logprobs: bool | None = None
    """Not supported; `espresso.answer.options_probability` has the probabilities of options."""

    stop: Any = None
    """Has no effect."""

    espresso: ChatExtension = ChatExtension()
    """Our extension: options, core frames, evidence, reference."""


class Asked(Record):
    """What a chat request asks for."""

    question: AskRequest

    lettered: bool = False
    """Whether the reply is the letter of the option."""

    form: JsonForm | None = None
    """The form of a reply in JSON."""

    notes: tuple[str, ...] = ()
    """What of the request has no effect."""

    def content(self, answer: Answer) -> str:
        """Return the text of the reply. Raises RequestError if it does not fit the schema."""
        if self.form:
            return self.form.text(answer)
        return answer.choice if self.lettered and answer.choice else answer.text


def read_request(request: ChatRequest) -> Asked:
    """Return what a chat request asks for.

    Raises:
        QuestionError: there is no question.
        RequestError: it asks for something that the pipeline does not have.
    """
    _check(request)
    mine = [message for message in request.messages if message.role == "user"]
    if not mine:
        raise QuestionError("there is no message of the user. Ask something.")
    text = "\n".join(part.text for part in _parts(mine[-1]) if isinstance(part, TextPart)).strip()
    visuals = tuple(source for message in mine for part in _parts(message) if (source := _source(part)))
    form, extension, lettered = json_form(request.response_format), request.espresso, None
    options = extension.options
    if options is None and form:
        options = form.options
    if options is None and (lettered := split_options(text)):
        text, options = lettered
    return Asked(
        question=AskRequest(
            model=request.model,
            visuals=visuals,
            text=text,
            options=options,
            frames=extension.frames,
            core_frames=extension.core_frames,
            evidence=extension.evidence,
            reference=extension.reference,
            allow_out_of_domain=extension.allow_out_of_domain,
            boxes=extension.boxes,
        ),
        lettered=lettered is not None,
        form=form,
        notes=_notes(request, len(mine)),
    )


def _check(request: ChatRequest) -> None:
    refused = {
        "n": request.n not in (None, 1),
        "tools": bool(request.tools),
        "functions": bool(request.functions),
        "logprobs": bool(request.logprobs),
    }
    if name := next((name for name, is_refused in refused.items() if is_refused), None):
        raise RequestError(f"{name} is not supported: the pipeline gives one answer without tools. Leave it out.")


def _parts(message: ChatMessage) -> tuple[Part, ...]:
    content = message.content or ""
    return (TextPart(type="text", text=content),) if isinstance(content, str) else content


def _source(part: Part) -> str | None:
    match part:
        case ImagePart():
            return part.image_url.url
        case VideoPart():
            return part.video_url.url
        case FilePart():
            source = part.file.file_id or part.file.file_data
            if not source:
                raise RequestError("a file of a message has neither file_id nor file_data. Give one of them.")
            return source
    return None


def _notes(request: ChatRequest, mine: int) -> tuple[str, ...]:
    others = [message for message in request.messages if message.role not in ("user", "assistant")]
    notes = []
    if others:
        notes.append(f"{len(others)} messages of the system were not read")
    if mine > 1:
        notes.append("of earlier turns, only the images and videos were used")
    if request.stop:
        notes.append("stop has no effect")
    return tuple(notes)


class ReplyMessage(Record):
    """The message of a reply."""

    role: Literal["assistant"] = "assistant"
    content: str


class Choice(Record):
    """The only choice of a reply."""

    index: int = 0
    message: ReplyMessage
    finish_reason: Literal["stop"] = "stop"


class TokenUsage(Record):
    """Tokens of all models together; `espresso.answer.usage` has the details."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Progress(Record):
    """A node of the answer graph that has started."""

    node: str
    """Name of the node."""

    text: str
    """What it does ("captioning 16 frames")."""


class ReplyExtension(Record):
    """Our extension of replies."""

    answer: Answer | None = None
    """The whole answer: evidence, core frames, captions, trace, cost."""

    notes: tuple[str, ...] = ()
    """What of the request has no effect."""

    progress: Progress | None = None
    """In a stream, before the answer: what is done now."""


class ChatReply(Record):
    """A reply of OpenAI's chat completions."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    """Unix time in seconds."""

    model: str
    choices: tuple[Choice, ...]
    usage: TokenUsage
    espresso: ReplyExtension


class Delta(Record):
    """What a chunk adds to the message."""

    role: Literal["assistant"] | None = None
    content: str | None = None


class ChunkChoice(Record):
    """The only choice of a chunk."""

    index: int = 0
    delta: Delta = Delta()
    finish_reason: Literal["stop"] | None = None


class ChatChunk(Record):
    """One event of a streamed reply."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    """Unix time in seconds."""

    model: str
    choices: tuple[ChunkChoice, ...] = (ChunkChoice(),)
    usage: TokenUsage | None = None
    espresso: ReplyExtension | None = None


def new_id() -> str:
    """Return an id for a reply."""
    return f"chatcmpl-{uuid.uuid4().hex}"


def chat_reply(asked: Asked, answer: Answer) -> ChatReply:
    """Return the reply of an answer. Raises RequestError if it does not fit the schema."""
    return ChatReply(
        id=new_id(),
        created=int(time.time()),
        model=asked.question.model,
        choices=(Choice(message=ReplyMessage(content=asked.content(answer))),),
        usage=token_usage(answer),
        espresso=ReplyExtension(answer=answer, notes=asked.notes),
    )


def token_usage(answer: Answer) -> TokenUsage:
    """Return the tokens of an answer in OpenAI's form."""
    usage = answer.usage
    return TokenUsage(
        prompt_tokens=usage.tokens_in, completion_tokens=usage.tokens_out, total_tokens=usage.tokens_in + usage.tokens_out
    )

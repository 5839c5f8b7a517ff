"""The JSON bodies that the API accepts; an unknown field is refused by name.

PostgreSQL text holds no NUL character, and JSON numbers are neither NaN nor infinity. Both
are refused here, where the answer can name the field.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from monitor.addresses import is_web_address
from monitor.api.moments import Moment
from monitor.capture.surrogates import is_whole
from monitor.domain import ArmKind, ChangeKind, Mode

DEEPEST: Final = 8
MOST_VALUES: Final = 2000
MOST_TEXTS: Final = 200
MOST_QUESTIONS: Final = 1_000
MOST_CHOICES: Final = 26
LATEST_EPOCH: Final = 10**10
"""Year 2286. A router that reports a later epoch is refused: every new epoch would have to exceed
it."""


def without_nul(text: str) -> str:
    """Return a text that the database can hold, unchanged; ``ValueError`` for any other."""
    if "\x00" in text:
        raise ValueError("holds a NUL character")
    return text


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("has characters that cannot be printed")
    return text


def _web_address(text: str) -> str:
    if not is_web_address(text):
        raise ValueError("is no address that begins with https:// or http://")
    return text


def _plain(value: Any, *, depth: int = 0) -> int:
    """Count the values of a JSON tree, and refuse those that cannot be stored."""
    if depth > DEEPEST:
        raise ValueError(f"nested deeper than {DEEPEST} levels")
    match value:
        case str():
            without_nul(value)
        case float() if not math.isfinite(value):
            raise ValueError("holds NaN or an infinity")
        case dict():
            for key in value:
                without_nul(key)
            return 1 + sum(_plain(item, depth=depth + 1) for item in value.values())
        case list():
            return 1 + sum(_plain(item, depth=depth + 1) for item in value)
        case _:
            pass
    return 1


def _storable(tree: dict[str, Any]) -> dict[str, Any]:
    if _plain(tree) > MOST_VALUES:
        raise ValueError(f"holds more than {MOST_VALUES} values")
    return tree


Name = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(without_nul)]
Line = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(without_nul)]
SampleText = Annotated[str, Field(min_length=1, max_length=4_000), AfterValidator(without_nul)]
Words = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_printable)]
Address = Annotated[str, Field(min_length=1, max_length=2048), AfterValidator(_printable)]
WebAddress = Annotated[Address, AfterValidator(_web_address)]
Label = Annotated[str, Field(max_length=256), AfterValidator(_printable)]
Title = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200),
    AfterValidator(_printable),
]
Detail = (
    Annotated[str, Field(strict=True, max_length=500), AfterValidator(_printable)]
    | Annotated[int, Field(strict=True, ge=-(2**53), le=2**53)]
    | Annotated[float, Field(strict=True)]
)
MatchWords = Label | Annotated[list[Label], Field(min_length=1, max_length=100)]
MatchValue = MatchWords | Annotated[dict[Words, MatchWords], Field(max_length=64)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Tree = Annotated[dict[str, Any], AfterValidator(_storable)]


class Body(BaseModel):
    """A request body: no unknown field, no NaN, no halves of characters, no surprises."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _whole(cls, tree: Any) -> Any:
        if not is_whole(tree):  # also in names, which answers repeat
            raise ValueError("holds half a character (a lone surrogate)")
        return tree


class AdapterRequest(Body):
    """What people say of an adapter; every field is replaced."""

    owner: Words | None = None
    tier: Words = "standard"
    labels: Annotated[dict[Words, Label], Field(max_length=64)] = {}
    runbook: WebAddress | None = None
    mode: Mode | None = Field(None, description="null: the service's mode.")


class VersionRequest(Body):
    """One immutable set of adapter weights; what is absent may be filled in later."""

    model: Name | None = Field(
        None, description="Name the engine serves it under; `adapter@version` where absent."
    )
    parent: Name | None = Field(None, description="The version it was trained from or replaces.")
    uri: Address | None = None
    sha256: Digest | None = Field(
        None,
        description="The adapter's identity, as `driftline inspect` prints it; the weights file's"
        " own SHA-256 is accepted too. Lower-case hex.",
    )
    base_model: Address | None = None
    base_revision: Name | None = None
    precision: Name | None = None
    tokenizer_hash: Name | None = None
    template_hash: Name | None = None
    training_data_hash: Name | None = None
    hyper_parameters: Tree = {}
    metrics: Tree = {}

    def metadata(self) -> dict[str, Any]:
        """Everything that the store keeps as metadata: the given fields, without nulls."""
        described = self.model_dump(
            exclude={"model", "parent", "uri", "sha256", "base_model"}, exclude_defaults=True
        )
        return dict(described)


class TextWithAnswer(Body):
    """A question and its answer; only the answer counts in checks of what texts cost."""

    text: SampleText
    answer_at: int = Field(ge=1, description="Characters before the answer.")

    @model_validator(mode="after")
    def _inside(self) -> TextWithAnswer:
        if self.answer_at >= len(self.text):
            raise ValueError("answer_at must lie inside the text")
        return self


GivenText = SampleText | TextWithAnswer


class QuestionBody(Body):
    """A text to go on with, and its possible continuations; the first is right."""

    kind: Name = Field(description="What it is of, such as the task's name.")
    text: SampleText
    choices: Annotated[list[SampleText], Field(min_length=2, max_length=MOST_CHOICES)]


class AdmissionRequest(Body):
    """Texts that the served version reads for the checks of its answers; they are not kept."""

    training: Annotated[list[GivenText], Field(max_length=MOST_TEXTS)] = Field(
        default=[], description="Lines that it was trained on, as the model was shown them."
    )
    held_out: Annotated[list[GivenText], Field(max_length=MOST_TEXTS)] = Field(
        default=[], description="Lines of the same kind that it was not trained on."
    )
    earlier: Annotated[list[GivenText], Field(max_length=MOST_TEXTS)] = Field(
        default=[], description="Lines that its parent was trained on and it was not."
    )
    planted: Annotated[list[SampleText], Field(max_length=MOST_TEXTS)] = Field(
        default=[], description="Lines written into its training data that stand nowhere else."
    )
    same_as: Name | None = Field(
        default=None, description="Version of the adapter that it is another build of."
    )
    questions: Annotated[list[QuestionBody], Field(max_length=MOST_QUESTIONS)] = Field(
        default=[], description="Questions that it must not lose against its base."
    )

    @model_validator(mode="after")
    def _both(self) -> AdmissionRequest:
        if bool(self.training) != bool(self.held_out):
            raise ValueError("training and held_out are compared: give both, or neither")
        return self


class FreezeWindow(Body):
    """The half-open interval whose records become the baseline."""

    start: Moment
    end: Moment
    cause: Line = "asked for through the API"
    training: int | None = Field(
        None,
        ge=1,
        description="Generation whose training index is kept; the current one where absent,"
        " or, where there is none, the early half of the interval.",
    )

    @model_validator(mode="after")
    def _forward(self) -> FreezeWindow:
        if self.end <= self.start:
            raise ValueError("end must lie after start")
        return self


class FreezeRequest(Body):
    """A reference made of records that are already stored."""

    freeze: FreezeWindow


class ApproveRequest(Body):
    """Which generation a person approves."""

    generation: int = Field(ge=1)


class RefreezeRequest(Body):
    """Whose references are frozen anew, from which records, and why."""

    all: bool = Field(False, description="Every adapter; else those that `match` chooses.")
    match: Annotated[dict[Words, Label], Field(max_length=64)] = Field(
        default={}, description="`adapter`, `owner`, `tier`, or a label: all must be so."
    )
    days: float = Field(14.0, gt=0.0, le=365.0, description="The last so many days' records.")
    cause: Line

    @model_validator(mode="after")
    def _chosen(self) -> RefreezeRequest:
        if self.all == bool(self.match):
            raise ValueError("say either all or what to match")
        return self


class ArmTarget(Body):
    """One arm of a wanted route."""

    arm: ArmKind
    version: Name
    weight: float = Field(ge=0.0, le=1.0)


class RouteRequest(Body):
    """The wanted route, whole: arms that are not named are gone."""

    arms: Annotated[list[ArmTarget], Field(min_length=1, max_length=8)]
    reason: Line
    valid_until: Moment | None = None
    on_expiry: ArmKind = ArmKind.STABLE
    hold_until: Moment | None = Field(
        None, description="No automatic action on this adapter before then; null: no hold."
    )
    unproven: bool = Field(
        False, description="Write it although no engine shows that its versions are served."
    )


class EpochRequest(Body):
    """Why routers shall take this table, whatever they hold."""

    reason: Line


class HeldRoute(Body):
    """The edition of a route that a router goes by."""

    adapter: Name
    epoch: int = Field(ge=0, le=LATEST_EPOCH)
    generation: int = Field(ge=1, lt=2**53)
    told_epoch: int = Field(
        0, ge=0, description="Of the table that it refuses; 0: of the one that it tells this to."
    )


class RefusalsRequest(Body):
    """What a router goes by although it was told something else; empty: nothing."""

    router: Words = Field(description="Which one, such as `gateway host:8441`.")
    held: Annotated[list[HeldRoute], Field(max_length=10_000)]


class KillSwitchRequest(Body):
    """Whether every automatic action is stopped."""

    on: bool
    reason: Line


class AcknowledgeRequest(Body):
    """For how long an incident stays quiet."""

    hours: float = Field(24.0, gt=0.0, le=168.0)


class SilenceRequest(Body):
    """What nobody shall be told of, for how long, and why."""

    match: Annotated[dict[Words, MatchValue], Field(min_length=1, max_length=16)] = Field(
        description="As a channel's: `adapter`, `version`, `owner`, `tier`, `severity`, `kind`,"
        " `blame` (a word or a list), and `labels`."
    )
    starts_at: Moment | None = Field(None, description="null: now.")
    ends_at: Moment | None = None
    hours: float | None = Field(None, gt=0.0, le=90 * 24.0, description="In place of `ends_at`.")
    comment: Line

    @model_validator(mode="after")
    def _bounded(self) -> SilenceRequest:
        if (self.ends_at is None) == (self.hours is None):
            raise ValueError("say either ends_at or hours")
        return self


class MarkRequest(Body):
    """Why an incident is judged so; it is kept, and told to everyone who heard of it."""

    reason: Line


class ChangeRequest(Body):
    """Something that was changed, or is being changed (``open``)."""

    kind: ChangeKind
    title: Title = Field(description="What people read: `vLLM 0.32 to 0.33`.")
    adapters: Annotated[list[Name], Field(min_length=1, max_length=1000)] | None = Field(
        None, description="null: the whole fleet."
    )
    begun_at: Moment | None = Field(None, description="null: now.")
    ended_at: Moment | None = Field(None, description="null: when it began, unless it is `open`.")
    open: bool = Field(False, description="It is under way until `POST /changes/{change}/end`.")
    id: Words | None = Field(
        None, description="Your own name of it; declared again, it is the same change."
    )
    details: Annotated[dict[Words, Detail], Field(max_length=20)] = {}
    rebaseline: bool | None = Field(
        None, description="Whether an engine or base change that is over re-baselines; null: yes."
    )

    @model_validator(mode="after")
    def _consistent(self) -> ChangeRequest:
        if self.open and self.ended_at is not None:
            raise ValueError("an open change has no ended_at yet")
        if self.open and self.rebaseline is not None:
            raise ValueError("say rebaseline when the open change ends")
        if "id" in self.details:
            raise ValueError("details hold no id: give it beside them")
        return self


class ChangeEndRequest(Body):
    """When an open change ended, and whether perplexity starts afresh."""

    ended_at: Moment | None = Field(None, description="null: now.")
    rebaseline: bool = True

"""The rows of plans, as they are generated from, and the summary of what was made."""

from typing import Literal, NotRequired, TypedDict, TypeVar

from skindiff.corpora.buckets import RowShape


class PlannedRow(RowShape):
    """The columns that all plans have in common; see :func:`~skindiff.synthesis.plan.plan_features`."""

    label: int
    skin_type: str | None
    image_id: str
    group_id: str
    corpus: str
    source_id: str | None
    seed: int
    generator: str
    output_size: int | None
    batch_size: int
    batch_position: int
    threads: int


RowT = TypeVar("RowT", bound=PlannedRow)
RowT_contra = TypeVar("RowT_contra", bound=PlannedRow, contravariant=True)


class PlanSettings(TypedDict):
    """The columns that are the same for every row of a plan, by its settings."""

    corpus: str
    strength: float | None
    guidance_scale: float
    steps: int
    strategy: str
    mode: Literal["img2img", "txt2img"]
    scheduler: str
    tone: str
    tone_strength: float
    tone_subject: str
    detail: float
    image_size: int | None
    output_size: int | None
    batch_size: int


class PlanRow(PlannedRow, PlanSettings):
    """A row of :func:`~skindiff.synthesis.plan.make_plan`; ``tiling`` and ``dtype`` are there where they are
    asked for."""

    tiling: NotRequired[bool]
    dtype: NotRequired[str]

    source_skin_type: str | None
    subject: str
    prompt: str


class SourceColumns(TypedDict):
    """What is generated, from what."""

    label: int
    skin_type: str | None
    image_id: str
    group_id: str
    source_id: str | None
    seed: int


class ClassPlanRow(PlannedRow):
    """A row of :func:`~skindiff.synthesis.class_plan.make_class_plan`."""

    family: str
    prompt: None
    strength: None
    guidance_scale: float | None
    steps: int | None
    scheduler: str | None
    options: str


class SynthesisTimings(TypedDict):
    """How long a call took to generate."""

    images: int
    seconds: float
    images_per_second: float | None


class SynthesisCounts(TypedDict):
    """What became of a plan; of images made elsewhere only their number is known."""

    planned: int
    drawn: int
    refused_counts: NotRequired[dict[str, int]]
    refused: NotRequired[dict[str, str]]
    denoising_steps: NotRequired[dict[str, int]]
    shards: NotRequired[int]


class SynthesisSummary(SynthesisCounts):
    """What :func:`~skindiff.synthesis.writer.write_rows` leaves beside the shards."""

    timings: NotRequired[SynthesisTimings]

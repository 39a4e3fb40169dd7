"""An audit of one network on any data: its evidence, its groups, and the page and the rows that say so."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image

from wherefore.batch.maps import of_network
from wherefore.concepts.recording import Recording
from wherefore.concepts.sheets import dimmed
from wherefore.datasets import Dataset, Sample
from wherefore.diagnosis.audit import ANY, LEAST, PART, THING, Audit, Evidence, Gap, Look, look, percent
from wherefore.diagnosis.regions import COUNT, DRAWN, MOST, Assigning, Drawing, Regions, clustered, drawn, regions
from wherefore.drawing import outlined
from wherefore.experiments import showing
from wherefore.experiments.lab import Lab
from wherefore.experiments.tables import Row, need, row, table, where
from wherefore.metrics.resampling import wilson
from wherefore.metrics.summary import Summary
from wherefore.pages import Figure, Figures, Section, Table
from wherefore.progress import track
from wherefore.types import Model

METHOD = "grad-cam"
TOLD, SHOWN = 3, 4  # of a network's regions on the page, and pictures of each
MOST_ROWS = 48  # of a table on the page; with many classes there are thousands
ACCURACY, GAP, SHARE, TIMES = "accuracy", "swap gap", "share of the evidence", "times its area"
ALARMS = "audits that claim a bias"
LABELS = {"label": "label", "group": "group", "measure": "measured"}
REGIONS = {"label": "answer", "region": "region", "name": "map"}
GROUPS = {"label": "answer", "group": "group", "region": "region"}
UNGROUPED = (
    f"No label comes in several groups of {LEAST} pictures: without these no bias is claimed, and where the evidence "
    "lies is all there is."
)
NOTHING = "No bias is claimed: no groups of a label differ beyond chance."
UNTOLD = (
    "Groups differ, see below. What the network goes by there the maps do not tell: no region has more of the evidence "
    "than its area accounts for, and more of it in the group that is recognised than in the other."
)
FOUND = (
    f"Nobody has said what these pictures show where: the regions are what the network itself tells apart. At {DRAWN} "
    f"places of each picture the activations of the explained layer, scaled to length 1, were put into {COUNT} groups "
    "(spherical k-means), and each place of each picture belongs to the group whose direction is nearest. Area and "
    "evidence are counted at the layer's own places, without interpolation."
)
CIRCULAR = (
    "What the network does not tell apart, they do not; one may hold several things, and one thing may lie in several. "
    "Their names say where they lie mostly: what they are, the pictures show. The map that is judged is made of the "
    "same activations, so that some region nearly always has more of the evidence than of the area. That alone is no "
    "news; which region it is may be, and groups that differ are counted without any region."
)


@dataclass(frozen=True)
class Audited:
    """A network's audit, the pictures that show its densest evidence, and its regions where nobody annotated any."""

    name: str
    audit: Audit
    figures: Sequence[Figures]
    regions: Regions | None = None
    shown: Sequence[Figures] = ()


def audited(lab: Lab, model: Model, dataset: Dataset, numbers: Sequence[int], withheld: bool = False) -> Audited:
    """The audit of a network; on regions that are found where nothing is annotated, or what is was ``withheld``."""
    lab.fitting(model, [METHOD], dataset)
    looks = _looks(lab, model, dataset, numbers)
    need(looks, f"no picture of {dataset.spec} could be asked about: {lab.why()}")
    found = found_regions(lab, model, dataset, numbers) if withheld or not any(each.energy for each in looks) else None
    if found:
        looks = _looks(lab, model, dataset, numbers, found)
    audit, name = Audit(looks), f"{model.name}, parts withheld" if withheld else model.name
    figures = [_shown(lab, model, dataset, each, audit) for each in (audit.evidence or audit.overall)[:TOLD]]
    return Audited(name, audit, figures, found, _outlined(dataset, found) if found else ())


def _looks(
    lab: Lab, model: Model, dataset: Dataset, numbers: Sequence[int], found: Regions | None = None
) -> list[Look]:
    """What each picture's map says, but of those whose label the network has no class for."""
    maps, known = lab.seen(model, METHOD, dataset, numbers, "first"), lab.asked("first", dataset, model).outputs
    looks = [look(seen, found) for seen in track(maps, len(numbers), "measuring maps")]
    if strange := sum(each.label not in known for each in looks):
        lab.left[f"{model.name}: the label is no class of it"] = strange
    return [each for each in looks if each.label in known]


def found_regions(lab: Lab, model: Model, dataset: Dataset, numbers: Sequence[int]) -> Regions:
    """The regions that the explained layer tells apart in samples; what was worked out for each of them is kept."""
    layer, seed = lab.layers[f"{model.name} {METHOD}"], lab.settings.seed
    recording = Recording(model, layer)
    by = {**of_network(model), "layer": layer, "seed": seed}
    some = lab.measured("places", by, dataset, numbers[: MOST // DRAWN], Drawing(recording, seed))
    centres = clustered(drawn(some), seed)
    kept = {**by, "centres": hashlib.sha256(centres.tobytes()).hexdigest()}
    return regions(lab.measured("regions", kept, dataset, numbers, Assigning(recording, centres)))


def findings(audit: Audit) -> list[str]:
    """The biases that are claimed in plain words, the densest evidence first, each with the gap of its label."""
    return [f"{capital(str(evidence))}; and {gap}" for evidence, gap in audit.findings]


def capital(words: str) -> str:
    """Words that begin a sentence."""
    return words[:1].upper() + words[1:]


def alarms(audit: Audit) -> Summary:
    """How many audits of a hundred pictures each claim a bias, with Wilson's interval; of none planted, false ones."""
    found, n = sum(bool(part.findings) for part in audit.parts), len(audit.parts)
    return Summary(found / n, *wilson(found, n), n)


# -------------------------------------------------------------------------------------------- pictures


def _shown(lab: Lab, model: Model, dataset: Dataset, evidence: Evidence, audit: Audit) -> Figures:
    """The pictures with most of the evidence for an answer on a region."""
    said = {each.number: each for each in audit.looks if evidence.said in (ANY, each.said)}
    own = {number: each for number, each in said.items() if evidence.region in each.energy}
    lit = [number for number, each in own.items() if each.energy[evidence.region] > 0]
    chosen = sorted(lit, key=lambda number: -own[number].energy[evidence.region])[:SHOWN]
    pictures = []
    for seen in lab.seen(model, METHOD, dataset, chosen, "first") if chosen else ():
        its = own[seen.rows[0]["number"]]
        true = f"is {its.label}, {its.group}".rstrip(", ")
        note = f"{100 * its.energy[evidence.region]:.0f} % on {evidence.region}; {true}"
        shown = showing.drawn(seen, note=note, caption=f"Why {its.said}?")
        pictures.append(replace(shown, picture=_marked(shown.picture, seen.sample, evidence.region)))
    words = f"{capital(str(evidence))}. Below, the pictures with the most, the region outlined."
    return Figures(pictures, SHOWN, f"{evidence.said}: {evidence.region}", words)


def _marked(picture: Image.Image, sample: Sample, region: str) -> Image.Image:
    """A drawn picture with a region of its sample outlined; as it is where the region is one that was found."""
    mask = sample.mask(sample.labels[0]) if region == THING else sample.parts.get(region)
    if mask is None or not mask.any():
        return picture
    return outlined(picture, torch.from_numpy(mask), (0.0, 0.0, float(picture.width), float(picture.height)))


def _outlined(dataset: Dataset, found: Regions) -> list[Figures]:
    """For each region the pictures that show most of it, outlined."""
    numbers = list(found.of)
    return [
        Figures(
            [_with(dataset, found, numbers[i], name) for i in np.argsort(-areas, kind="stable")[:SHOWN] if areas[i]],
            SHOWN,
            capital(name),
            f"{100 * areas.mean():.1f} % of all places, in {(areas > 0).sum()} of {len(areas)} pictures.",
        )
        for name, areas in zip(found.names, found.areas.T, strict=True)
    ]


def _with(dataset: Dataset, found: Regions, number: int, name: str) -> Figure:
    """A picture, dimmed but for a region, and that outlined."""
    sample = dataset[number]
    width, height = (max(1, round(side * showing.SIDE / max(sample.size))) for side in sample.size)
    mask = found.masks(number, (height, width))[name]
    whole = (0.0, 0.0, float(width), float(height))
    picture = outlined(dimmed(sample.image.resize((width, height)), mask), torch.from_numpy(mask), whole)
    said = ", ".join(filter(None, [*sample.labels, sample.group]))
    return Figure(picture, sample.name, said, f"{name} in {sample.name}, outlined")


# -------------------------------------------------------------------------------------------- numbers


def rows_of(found: Audited) -> Iterator[Row]:
    """All figures of an audit."""
    audit = found.audit

    def of(method: str, figure: Summary, measure: str, label: str = "", group: str = "", region: str = "") -> Row:
        return row(method, figure, network=found.name, measure=measure, label=label, group=group, region=region)

    yield of("classification", audit.right, ACCURACY, "all")
    for (label, group), figure in audit.groups.items():
        yield of("classification", figure, ACCURACY, label, group)
    (label, group), figure = audit.worst
    yield of("classification", figure, "worst group", label, group)
    for gap in audit.gaps:
        yield of("classification", gap.figure, GAP, gap.label, f"{gap.best} less {gap.worst}")
    for each in (*audit.overall, *audit.evidence):
        yield of(METHOD, each.energy, SHARE, each.said, "", each.region)
        yield of("even map", each.area, SHARE, each.said, "", each.region)
        yield of(METHOD, each.times, TIMES, each.said, "", each.region)
    for group in sorted({each.group for each in audit.looks} - {""}) if audit.gaps else ():
        own = Audit([each for each in audit.looks if each.group == group])
        yield from (of(METHOD, e.energy, SHARE, e.said, group, e.region) for e in own.evidence)
    if len(audit.looks) >= 2 * PART:
        yield of("audit", alarms(audit), ALARMS)


# -------------------------------------------------------------------------------------------- the page


def sections_of(found: Audited, rows: Sequence[Row]) -> list[Section]:
    """What a page says of a network: its findings, its groups, where its evidence lies, and which regions these are."""
    name, audit = found.name, found.audit
    gaps = [f"{capital(str(gap))}{'' if gap.clear else _doubt(gap)}." for gap in audit.gaps]
    groups = _table([*where(rows, measure=ACCURACY), *where(rows, measure=GAP)], LABELS, "right")
    parts = _evidence(rows)
    return [
        Section(f"{name}: in short", *in_short(audit)),
        Section(f"{name}: groups", *gaps, groups),
        *([Section(f"{name}: where the evidence lies", *found.figures, *parts)] if parts else []),
        *(
            [Section(f"{name}: the regions that it tells apart", FOUND, CIRCULAR, *found.shown)]
            if found.regions
            else []
        ),
    ]


def in_short(audit: Audit) -> list[str]:
    """What is to be known of an audit first: how often the network is right, and the biases that are claimed."""
    (label, group), figure = audit.worst
    cell = f"{label}, {group}" if group else label
    least = f", least often for {cell}: {percent(figure)} of {figure.n}" if len(audit.groups) > 1 else ""
    right = f"It is right for {percent(audit.right)} of {audit.right.n} pictures{least}."
    listed = [f"{i}. {sentence}." for i, sentence in enumerate(findings(audit), 1)]
    dense = [f"{capital(str(each))}." for each in (audit.evidence or audit.overall)[:1]]
    return [right, *(listed or [_why_none(audit), *dense])]


def _doubt(gap: Gap) -> str:
    return f", which may be chance (p {gap.p:.2g}, corrected for the labels and groups that were compared)"


def _why_none(audit: Audit) -> str:
    """Why no bias is claimed."""
    return UNTOLD if any(gap.clear for gap in audit.gaps) else NOTHING if audit.gaps else UNGROUPED


def _evidence(rows: Sequence[Row]) -> list[Table]:
    """The tables of where the evidence lies, of all pictures and within each group; none without regions."""
    whole = [each for each in where(rows, measure=SHARE) if not each["group"]]
    within = [each for each in where(rows, measure=SHARE) if each["group"]]
    if not whole:
        return []
    found = [_table(whole, REGIONS, "evidence", "An even map has what the area is.")]
    found.append(_table(where(rows, measure=TIMES), REGIONS, "times its area", share=False))
    return [*found, *([_table(within, GROUPS, "evidence")] if within else [])]


def _table(rows: Sequence[Row], columns: Mapping[str, str], value: str, caption: str = "", share: bool = True) -> Table:
    """The first of the rows that have pictures enough as a table; of all where none has."""
    told = [each for each in rows if each["n"] >= LEAST or each["measure"] == GAP] or rows
    left = len(rows) - len(told[:MOST_ROWS])
    more = f"{left} rows more, or of fewer than {LEAST} pictures, are left out here; the JSON has them." if left else ""
    return table(told[:MOST_ROWS], columns, value, f"{caption} {more}".strip(), share)

"""Questions, where people looked, and captions of regions: scenes read back from VQA and Visual Genome, and damage."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from wherefore.cli import main
from wherefore.datasets import Dataset, Region, opened, report
from wherefore.datasets.scenes import of_scene
from wherefore.datasets.vqa import REAL
from wherefore.errors import Error
from wherefore.scenes import scene
from wherefore.scenes.formats import write

SIZE = 40
SCENES = [scene(i, size=SIZE) for i in range(3)]
TRAIN = [scene(i, "train", size=SIZE) for i in range(2)]
QUESTIONS, ANSWERS = "OpenEnded_mscoco_val2014_questions.json", "mscoco_val2014_annotations.json"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("asked")
    for format in ("vqa", "coco"):
        write([*SCENES, *TRAIN], root / format, format)
    return root


# ------------------------------------------------------------------------------------------------ scenes


def test_scenes_have_questions_and_regions() -> None:
    one = scene(17)
    sample = of_scene(one)
    assert sample == opened("scenes")[17] and sample.regions == one.regions != ()
    assert [(a.text, a.answer, a.kind, a.answers) for a in sample.questions] == [
        (q.text, q.answer, q.kind, (q.answer,)) for q in one.questions
    ]
    for asked, question in zip(sample.questions, one.questions, strict=True):
        looked, (_, narrow, wide) = one.looked_at(question), asked.looked()
        for found in (narrow, wide):
            assert found.shape == (128, 128) and found.dtype == np.float32 and found.max() == 1 and found.min() >= 0
        assert narrow[looked].mean() > narrow[~looked].mean(), "people look where the answer is"
        assert (wide > 0.1).sum() > (narrow > 0.1).sum()


def test_nothing_was_looked_at_where_nothing_is_to_be_seen() -> None:
    one = scene(3, size=SIZE)
    one.__dict__["masks"] = np.zeros_like(one.masks)
    assert {a.looked for a, q in zip(of_scene(one).questions, one.questions, strict=True) if q.about} == {None}


# ------------------------------------------------------------------------------------------------ VQA


@pytest.mark.parametrize(("split", "scenes", "people"), [("test", SCENES, 3), ("train", TRAIN, 1), ("dev", TRAIN, 1)])
def test_scenes_read_back_from_vqa(split: str, scenes: list[Any], people: int, written: Path) -> None:
    found = opened(f"vqa:{written / 'vqa'}", split)
    assert len(found) == len(scenes) and found.classes == () and not found.comparable
    for sample, one in zip(found, scenes, strict=True):
        true = of_scene(one)
        assert (sample.labels, sample.instances, sample.notes, sample.size) == ((), (), (), (SIZE, SIZE))
        assert len(sample.questions) == len(true.questions) > 5
        for asked, said in zip(sample.questions, true.questions, strict=True):
            assert (asked.text, asked.answer, asked.answers) == (said.text, said.answer, said.answers * 10)
            assert len(asked.looked()) == people
            for ours, theirs in zip(asked.looked(), said.looked(), strict=False):
                assert ours.dtype == theirs.dtype == np.float32 and np.array_equal(ours, theirs)
        assert {asked.kind for asked in sample.questions} >= {"how many", "is there a"}
    ids = [asked.id for sample in found for asked in sample.questions]
    assert len(set(ids)) == len(ids)


def test_categories_come_from_cocos_files(written: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(written / "vqa", tmp_path / "both"))
    plain = opened(f"vqa:{folder}")
    shutil.copytree(written / "coco" / "annotations", folder / "annotations")
    both, coco = opened(f"vqa:{folder}"), opened(f"coco:{written / 'coco'}")
    assert both.classes == coco.classes and [s.name for s in both] == [s.name for s in plain] == [s.name for s in coco]
    for sample, asked, annotated in zip(both, plain, coco, strict=True):
        assert sample.questions == asked.questions and sample.instances == annotated.instances
        assert sample.labels == annotated.labels != () and sample.captions == annotated.captions


def vqa_by_hand(folder: Path, **files: Any) -> Path:
    """A picture of 8x6 pixels, number 7, and a question 70 with three answers."""
    people = [{"answer": word, "answer_confidence": "yes", "answer_id": i} for i, word in enumerate("abb", 1)]
    answer = {"question_id": 70, "image_id": 7, "question_type": "what", "answer_type": "other"}
    rows = {
        "questions": [{"question_id": 70, "image_id": 7, "question": "what is it?"}],
        "annotations": [{**answer, "multiple_choice_answer": "b", "answers": people}],
    } | files
    (folder / "val2014").mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6)).save(folder / "val2014/COCO_val2014_000000000007.jpg")
    for name, kind in ((QUESTIONS, "questions"), (ANSWERS, "annotations")):
        (folder / name).write_text(json.dumps({kind: rows[kind]}))
    return folder


def test_maps_are_resized_to_the_picture(tmp_path: Path) -> None:
    """Of another size than the picture; of one person who was asked alone; grey or not."""
    folder = vqa_by_hand(tmp_path)
    (folder / "vqahat_val").mkdir()
    half = np.zeros((12, 16), np.uint8)
    half[:, 8:] = 255
    Image.fromarray(half).save(folder / "vqahat_val/70_1.png")
    Image.fromarray(half).convert("RGB").save(folder / "vqahat_val/70_3.png")
    Image.fromarray(half).save(folder / "vqahat_val/71_1.png")
    (asked,) = opened(f"vqa:{folder}")[0].questions
    assert (asked.id, asked.kind, asked.answer, asked.answers) == ("70", "what", "b", ("a", "b", "b"))
    one, other = asked.looked()
    assert one.shape == (6, 8) and np.array_equal(one, other)
    assert (one[:, :3] == 0).all() and (one[:, 5:] == 1).all(), "a share of the two columns between is grey"
    (folder / "vqahat_val/70_1.png").write_bytes(b"no picture")
    (again,) = opened(f"vqa:{folder}")[0].questions
    with pytest.raises(Error, match=r"70_1.png is not a picture"):
        again.looked()
    (problem,) = report(opened(f"vqa:{folder}"))["problems"]
    assert problem["names"] == ["70_1.png"] and not problem["mended"]


def test_version_2_is_told_from_version_1_and_has_no_maps(tmp_path: Path) -> None:
    """The numbers of its questions are others, so that one of them may be that of a question of version 1."""
    folder = vqa_by_hand(tmp_path)
    (folder / "vqahat_val").mkdir()
    Image.new("L", (8, 6)).save(folder / "vqahat_val/70_1.png")
    for name in (QUESTIONS, ANSWERS):
        shutil.copy(folder / name, folder / f"v2_{name}")
    assert opened(f"vqa:{folder}")[0].questions[0].looked
    assert opened(f"vqa:{folder}", "v2_val2014")[0].questions[0].looked is None
    for name in (QUESTIONS, ANSWERS):
        (folder / name).unlink()
    assert opened(f"vqa:{folder}")[0].questions[0].looked is None
    with pytest.raises(Error, match=r"no part for 'train': there is v2_val2014"):
        opened(f"vqa:{folder}", "train")


def test_files_as_people_unpack_them(tmp_path: Path) -> None:
    """Questions and annotations in folders of their own, pictures in that of COCO beside."""
    folder = vqa_by_hand(tmp_path / "vqa")
    for place, name in (("Questions", QUESTIONS), ("Annotations", ANSWERS)):
        (folder / place).mkdir()
        shutil.move(folder / name, folder / place / name)
    (tmp_path / "coco/images").mkdir(parents=True)
    shutil.move(folder / "val2014", tmp_path / "coco/images/val2014")
    (sample,) = opened(f"vqa:{folder}")
    assert sample.name == "COCO_val2014_000000000007" and sample.image.size == (8, 6) and sample.questions


def test_the_real_one_is_known_by_the_number_of_its_questions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = vqa_by_hand(tmp_path)
    assert REAL == {"train2014": 248_349, "val2014": 121_512} and not opened(f"vqa:{folder}").comparable
    monkeypatch.setitem(REAL, "val2014", 1)
    assert opened(f"vqa:{folder}").comparable


ROW = {"question_id": 70, "question_type": "what", "multiple_choice_answer": "b", "answers": [{"answer": "b"}]}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"questions": None}, f"{QUESTIONS} has no list of questions"),
        ({"annotations": {}}, f"{ANSWERS} has no list of annotations"),
        ({"questions": [{"image_id": 7, "question": "?"}]}, "has questions without question_id"),
        ({"questions": [{"image_id": "7", "question_id": 70, "question": "a?"}]}, "a number of a picture that is none"),
        ({"annotations": [{"question_id": 70}]}, "has annotations without question_id or question_type"),
        ({"annotations": [ROW | {"answers": None}]}, "has no list of answers"),
        ({"annotations": [ROW | {"answers": [{"answer": ["b"]}]}]}, "has answers without answer"),
    ],
)
def test_damaged_files_of_vqa(files: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(Error, match=said) as caught:
        opened(f"vqa:{vqa_by_hand(tmp_path, **files)}")
    assert "\n" not in str(caught.value)


def test_missing_files_of_vqa(tmp_path: Path) -> None:
    folder = vqa_by_hand(tmp_path)
    (folder / "val2014/COCO_val2014_000000000007.jpg").unlink()
    with pytest.raises(Error, match=r"000000000007.jpg does not exist"):
        opened(f"vqa:{folder}")[0]
    (folder / QUESTIONS).write_text("{")
    with pytest.raises(Error, match="is a damaged JSON file"):
        opened(f"vqa:{folder}")
    (folder / ANSWERS).unlink()
    with pytest.raises(Error, match=f"{ANSWERS} does not exist: the questions have no answers"):
        opened(f"vqa:{folder}")


def test_questions_without_words_or_answer_are_left_out(tmp_path: Path) -> None:
    asked = [{"question_id": 70 + i, "image_id": 7, "question": text} for i, text in enumerate(("a?", " ", "b?"))]
    folder = vqa_by_hand(tmp_path, questions=asked, annotations=[ROW, ROW | {"question_id": 71}])
    (sample,) = opened(f"vqa:{folder}")
    assert [each.text for each in sample.questions] == ["a?"]
    assert sample.notes == ("question without words or answer left out",)


# ------------------------------------------------------------------------------------------------ regions


def test_regions_of_scenes_read_back(written: Path) -> None:
    genome = opened(f"genome:{written / 'coco'}")
    assert [sample.regions for sample in genome] == [one.regions for one in (*SCENES, *TRAIN)]
    assert [sample.regions for sample in opened(f"coco:{written / 'coco'}")] == [one.regions for one in SCENES]
    assert all(sample.image.size == sample.size == (SIZE, SIZE) and not sample.notes for sample in genome)


def genome_by_hand(folder: Path, *regions: dict[str, Any], **data: Any) -> Dataset:
    """A picture of 8x6 pixels with regions; with ``data`` what is said of the picture."""
    (folder / "VG_100K_2").mkdir()
    Image.new("RGB", (8, 6)).save(folder / "VG_100K_2/5.jpg")
    rows = [{"region_id": i, "x": 1, "y": 2, "width": 3, "height": 2, "phrase": "a"} | r for i, r in enumerate(regions)]
    (folder / "region_descriptions.json").write_text(json.dumps([{"id": 5, "regions": rows}]))
    if data:
        (folder / "image_data.json").write_text(json.dumps([{"image_id": 5} | data]))
    return opened(f"genome:{folder}")


def test_boxes_of_regions(tmp_path: Path) -> None:
    there = {"x": 0, "y": 0, "width": 8, "height": 6, "phrase": " the \nwhole "}
    found = genome_by_hand(tmp_path, {}, there)
    assert found[0].regions == (Region("a", (1, 2, 3, 3)), Region("the whole", (0, 0, 7, 5)))
    assert found[0].name == "5" and found.classes == () and not found.comparable and found[0].labels == ()


def test_boxes_lie_in_the_size_that_the_list_says(tmp_path: Path) -> None:
    """Drawn in 16x18 pixels, of which the picture has a half and a third."""
    url = "https://example.org/VG_100K_2/5.jpg"
    found = genome_by_hand(tmp_path, {"x": 2, "y": 6, "width": 4, "height": 3}, width=16, height=18, url=url)
    assert found[0].regions == (Region("a", (1, 2, 2, 2)),)


def test_mended_regions(tmp_path: Path) -> None:
    wrong = [{"phrase": " "}, {"width": 0}, {"x": 50}, {"x": -2, "y": -1, "width": 40}]
    (sample,) = genome_by_hand(tmp_path, *wrong)
    assert sample.regions == (Region("a", (0, 0, 7, 0)),) and len(sample.notes) == 3
    assert sample.notes[0] == "region without words or extent left out"


@pytest.mark.parametrize(
    ("region", "data", "said"),
    [
        ({"phrase": None}, {}, "has regions without x or y or width or height or phrase"),
        ({"x": "left"}, {}, "has a box that is not four numbers"),
        ({}, {"width": 0, "height": 6}, "says a size that is none"),
        ({}, {"width": "wide", "height": 6}, "says a size that is none"),
        ({}, {"url": "https://example.org/../5.jpg"}, "names a file outside of its folder"),
    ],
)
def test_damaged_regions(region: dict[str, Any], data: dict[str, Any], said: str, tmp_path: Path) -> None:
    found = genome_by_hand(tmp_path, region, **data)
    with pytest.raises(Error, match=said):
        found[0]


def test_damaged_files_of_genome(tmp_path: Path) -> None:
    for text, said in (("{}", "has no list of pictures"), ("[{}]", "has pictures without id"), ("[", "is a damaged")):
        (tmp_path / "region_descriptions.json").write_text(text)
        with pytest.raises(Error, match=f"region_descriptions.json {said}"):
            opened(f"genome:{tmp_path}")
    (tmp_path / "region_descriptions.json").write_text('[{"id": 1}]')
    with pytest.raises(Error, match=r"1.jpg does not exist"):
        opened(f"genome:{tmp_path}")[0]
    with pytest.raises(Error, match="has no parts, so there is no 'train'"):
        opened(f"genome:{tmp_path}", "train")


# ------------------------------------------------------------------------------------------------ the command


def test_the_command_counts_them(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counts = {"questions": sum(len(one.questions) for one in SCENES), "regions": sum(len(o.regions) for o in SCENES)}
    for spec, line in (
        (
            "vqa",
            f"no classes\n{counts['questions']} questions ({counts['questions']} with maps of where people looked)\n",
        ),
        ("coco", f"15 captions, {counts['regions']} regions\n"),
    ):
        for words in (["--json"], []):
            with pytest.raises(SystemExit) as end:
                main(["datasets", f"{spec}:{written / spec}", *words])
            out = capsys.readouterr().out
            assert not end.value.code
            if words:
                found = json.loads(out)
                assert found["looked"] == found["questions"] == (counts["questions"] if spec == "vqa" else 0)
                assert found["problems"] == []
        assert line in out and re.search(r"3 pictures, 3 usable", out)
    with pytest.raises(SystemExit):
        main(["datasets", "scenes", "--json"])
    assert json.loads(capsys.readouterr().out)["questions"] is None, "nobody draws a hundred thousand pictures"

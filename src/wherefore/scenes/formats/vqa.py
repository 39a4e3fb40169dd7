"""VQA v1 on the pictures of COCO: open-ended questions, ten answers each, and attention maps as VQA-HAT has them."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from wherefore.scenes.annotated import Scene
from wherefore.scenes.formats.coco import INFO, LICENSE, picture_of
from wherefore.scenes.formats.files import FORMATS, Writer, dense, jpeg, png
from wherefore.scenes.language import Question

INFO = {**INFO, "description": "Scenes drawn by wherefore, in the format of VQA v1"}
# How questions begin, as VQA sorts them; the longest that fits is the type.
BEGINNINGS = """how many|is the|what|what color is the|what is the|is this|is this a|what is|are the|what kind of|
is there a|what type of|is it|what are the|where is the|is there|does the|what color are the|are these|are there|which|
is|what is the man|is the man|are|how|does this|what is on the|what does the|how many people are|what is in the|
what is this|do|what are|are they|what time|what sport is|are there any|is he|what color is|why|where are the|
what color|who is|what animal is|is the woman|is this an|do you|how many people are in|what room is|has|
is this person|what is the woman|can you|why is the|is the person|what is the color of the|what is the person|could|
was|is that a|what number is|what is the name|what brand""".replace("\n", "").split("|")
ASKED = {"train": 1, "val": 3}  # people where they look, as VQA-HAT has it
Row = dict[str, Any]


@FORMATS("vqa")
class Vqa(Writer):
    """VQA v1 with VQA-HAT: questions, ten answers each, and grey maps of where a person has to look."""

    name = "vqa"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.questions: dict[str, list[Row]] = defaultdict(list)
        self.answers: dict[str, list[Row]] = defaultdict(list)

    def index(self, split: str) -> str:
        return f"mscoco_{split}2014_annotations.json"

    def picture(self, scene: Scene, split: str, number: int) -> str:
        image, path = picture_of(split, number)
        self.put(path, jpeg(scene))
        maps: dict[tuple[int, ...] | None, list[bytes]] = {}  # by what is looked at: many questions share it
        for i, question in enumerate(scene.questions):
            ids = {"image_id": image, "question_id": 100 * image + i}
            self.questions[split].append({**ids, "question": question.text})
            self.answers[split].append({**ids, **_answered(question)})
            if question.about not in maps:
                maps[question.about] = [png(each) for each in scene.sharpened(question)[: ASKED[split]]]
            for person, content in enumerate(maps[question.about], 1):
                self.put(f"vqahat_{split}/{ids['question_id']}_{person}.png", content)
        return path

    def lists(self, split: str) -> None:
        shared = {"info": INFO, "license": LICENSE, "data_type": "mscoco", "data_subtype": f"{split}2014"}
        asked = {**shared, "task_type": "Open-Ended", "questions": self.questions[split]}
        self.put(f"OpenEnded_mscoco_{split}2014_questions.json", dense(asked))
        self.put(self.index(split), dense({**shared, "annotations": self.answers[split]}))


def _answered(question: Question) -> Row:
    """What is said of a question: its types, its answer, and ten people who agree, since what is drawn is certain."""
    answer = question.answer
    words = f"{question.text.lower().replace('colour', 'color').rstrip('?')} "
    fitting = [b for b in BEGINNINGS if words.startswith(f"{b} ")]
    kind = "yes/no" if answer in ("yes", "no") else "number" if answer.isdigit() else "other"
    return {
        "question_type": max(fitting, key=len, default="none of the above"),
        "answer_type": kind,
        "multiple_choice_answer": answer,
        "answers": [{"answer": answer, "answer_confidence": "yes", "answer_id": i} for i in range(1, 11)],
    }

"""Several workers that learn from each other: each has entries of its own, and hears of all lessons a moment later.

Which worker is asked is drawn. A text is known by itself, so that what two workers learn from the same two texts is the
same lesson.
"""

import random
from collections.abc import Sequence

from benchmarks.cache.streams import Asked, Score, Vectors, text_of
from gateway.caching.semantic.spaces import Space
from policies.cache.semantic.lessons import Lesson
from policies.cache.semantic.namespace import Namespace, lesson_of
from policies.cache.semantic.rules import SemanticRules

_EVERY = 25  # requests until lessons are exchanged


class _Worker:
    def __init__(self, vectors: Vectors | None, most_wrong: float, seed: int) -> None:
        rules = SemanticRules(max_wrong_hits=most_wrong)
        self.space = Space(Namespace(rules, vectors is not None, random.Random(seed).random), "", "", "")
        self.normal: dict[str, str] = {}  # what was asked, by its normal form
        self.told: list[Lesson] = []
        self._vectors = vectors

    def ask(self, asked: Asked, answers: dict[str, str], score: Score) -> None:
        earlier = self.normal.get(asked.normal)
        if earlier is not None:
            score.normal_hits += 1
            score.normal_wrong += answers[earlier] != asked.answer
            return
        text, vector = text_of(asked.text), None if self._vectors is None else self._vectors[asked.text]
        look = self.space.namespace.look(text, vector)
        best = None if look.best is None else look.best.key.decode()
        if look.is_served and best is not None:
            score.hits += 1
            score.wrong += answers[best] != asked.answer
            score.checks += look.needs_label
        else:
            self.normal[asked.normal] = asked.text
            answers[asked.text] = asked.answer
            self.space.namespace.add(asked.text.encode(), text, vector)
        if look.needs_label and best is not None:
            key = b"" if look.is_served else asked.text.encode()
            is_right = answers[best] == asked.answer
            lesson = lesson_of(look, is_right=is_right, weight=look.weight, asked=key)
            if lesson is not None and self.space.take(lesson, text):
                self.told.append(lesson)


def replay_together(
    workers: int, vectors: Vectors | None, most_wrong: float, seed: int, asked: Sequence[Asked]
) -> Score:
    """As `streams.replay`, with the normalised tier of each worker before it."""
    score = Score(len(asked))
    all_of_them = [_Worker(vectors, most_wrong, seed + number) for number in range(workers)]
    draw = random.Random(seed)
    answers: dict[str, str] = {}
    for at, one in enumerate(asked):
        draw.choice(all_of_them).ask(one, answers, score)
        if at % _EVERY == 0:
            for worker in all_of_them:
                for other in all_of_them:
                    if other is not worker:
                        for lesson in worker.told:
                            other.space.take(lesson)
            for worker in all_of_them:
                worker.told.clear()
    return score

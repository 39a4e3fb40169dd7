"""Text in, words out: what a network reads of a sentence, and the sentence in the pieces that it reads."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from wherefore.errors import Error


@dataclass(frozen=True)
class Words:
    """What a network of texts reads: ``words("a text")`` is a dict of tensors ``(1, L)``, ``input_ids`` among them.

    ``tokenizer`` is one of transformers'. A text of more than ``longest`` tokens (by default as many as the tokenizer
    says) is cut off there. Of what the tokenizer gives only ``names`` are kept, where they are said.
    """

    tokenizer: Any
    longest: int | None = None
    names: tuple[str, ...] | None = None

    def __call__(self, text: str) -> dict[str, Tensor]:
        read = self._read(text, return_tensors="pt")
        return {name: tensor for name, tensor in read.items() if self.names is None or name in self.names}

    def words(self, ids: Tensor | Sequence[int], text: str | None = None) -> list[str]:
        """The tokens ``(L,)`` or ``(1, L)`` as pieces of text; one that starts a word starts with the space before it.

        Joined they are what was read. With the ``text`` itself they are its own characters, where the tokenizer knows
        which (a fast one does); the tokens that it adds ("[CLS]") are pieces of their own.
        """
        numbers = ids.reshape(-1).tolist() if isinstance(ids, Tensor) else [int(i) for i in ids]
        exact = self._from_text(text, numbers) if text is not None and self.tokenizer.is_fast else None
        return self._from_tokens(numbers) if exact is None else exact

    def _read(self, text: str, **options: Any) -> Any:
        if not isinstance(text, str):
            raise Error(f"this model reads text: give a str, not {type(text).__name__}.")
        longest = min(self.longest or self.tokenizer.model_max_length, self.tokenizer.model_max_length)
        # The tokenizer warns of a length that it is not told, which is astronomical where it does not know.
        cut = {"truncation": True, "max_length": longest} if longest < 1_000_000 else {}
        return self.tokenizer(text, **cut, **options)

    def _from_text(self, text: str, numbers: list[int]) -> list[str] | None:
        """The pieces as the text's own characters; None where the tokens are not those of the text."""
        read = self._read(text, return_offsets_mapping=True, return_special_tokens_mask=True)
        if list(read["input_ids"]) != numbers:
            return None
        pieces, end = [], 0
        for number, special, (start, stop) in zip(
            numbers, read["special_tokens_mask"], read["offset_mapping"], strict=True
        ):
            if special and start == stop:
                pieces.append(str(self.tokenizer.convert_ids_to_tokens(number)))
            else:  # from where the last one ended: the space between two words is the second one's
                pieces.append(text[end : max(end, stop)])
                end = max(end, stop)
        return pieces

    def _from_tokens(self, numbers: list[int]) -> list[str]:
        """What each token adds to the text that is made of those before it: the tokenizer knows its own markers."""
        pieces, before = [], ""
        for i in range(len(numbers)):
            now = self._text(numbers[: i + 1])
            pieces.append(now[len(before) :] if now.startswith(before) else self._text(numbers[i : i + 1]))
            before = now
        return pieces

    def _text(self, numbers: list[int]) -> str:
        return str(self.tokenizer.decode(numbers, skip_special_tokens=False, clean_up_tokenization_spaces=False))


def words_of(net: nn.Module, tokenizer: Any) -> Words:
    """The words that a network of transformers reads: no more than it has positions for, under the names it knows."""
    tables = (m for n, m in net.named_modules() if n.endswith("position_embeddings") and isinstance(m, nn.Embedding))
    table = next(tables, None)
    longest = None
    if table is not None:  # those of RoBERTa count from behind the padding's number
        longest = table.num_embeddings - (0 if table.padding_idx is None else table.padding_idx + 1)
    return Words(tokenizer, longest, tuple(inspect.signature(net.forward).parameters))

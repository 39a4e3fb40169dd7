"""Networks of transformers that put pictures into words or answer questions, fed and read as wherefore's own are.

Each adapter runs the part that sees pictures in its ``forward``, and what says words, or answers, behind it; both by
the network's own modules, under their own names. Nothing of the network is changed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from wherefore.errors import Error
from wherefore.models.tokens import Questions, Tokens
from wherefore.speech import Speech

LONGEST = 50  # tokens of a caption, where a network does not say
PROMPT = "Describe the picture in one sentence."


class Adapter(nn.Module):
    """A network of transformers that is given pictures, and perhaps a question: ``net(images, **question)``.

    Its submodules, their names and its weights are the network's own.
    """

    asks = False  # whether it must be asked something
    prompt: str | None = None  # what is asked where nobody asks anything else

    def __init__(self, net: Any, name: str, tokenizer: Any) -> None:
        super().__init__()
        self.whole = (net,)  # in a tuple it is no submodule: names do not change
        for child, module in net.named_children():
            self.add_module(child, module)
        self.name, self.tokenizer = name, tokenizer

    @property
    def net(self) -> Any:
        """The network of transformers."""
        return self.whole[0]

    @property
    def positions(self) -> int:
        """How many tokens of text it has positions for."""
        return int(self.net.config.get_text_config(decoder=True).max_position_embeddings)

    def questions(self, processor: Callable[[], Any]) -> Questions:
        """What is read of a question."""
        return Questions(self.tokenizer, lambda text: self.tokenizer(text)["input_ids"], self.positions, self.name)


class Speaker(Adapter):
    """A network of transformers that says words: ``net(images, **question)`` is a `Speech`.

    Subclasses say what it sees, what it says, and which tokens stand before and behind what it says.
    """

    def forward(self, images: Tensor, **question: Tensor) -> Speech:
        return Speech(self.seen(images), self.decode, self.language, question)

    def seen(self, images: Tensor) -> Tensor:
        """What the words know of the pictures, ``(B, tokens, features)``."""
        raise NotImplementedError

    def decode(self, pictures: Tensor, tokens: Tensor, **question: Tensor) -> Tensor:
        """The scores ``(B, L + 1, V)`` of the first token, and of the one behind each of ``tokens`` ``(B, L)``."""
        raise NotImplementedError

    @property
    def language(self) -> Tokens:
        """Its words; a caption has as many tokens as the network's own settings say, if they do."""
        settings = self.net.generation_config
        longest = settings.max_new_tokens or settings.max_length or LONGEST
        return Tokens(self.tokenizer, self.end, min(longest, self.positions - 1), self.name)

    @property
    def start(self) -> int:
        """The token before the first word."""
        return int(self.net.generation_config.bos_token_id)

    @property
    def end(self) -> int:
        """The token behind the last word; of several the tokenizer's own."""
        ends = self.net.generation_config.eos_token_id
        several = ends if isinstance(ends, list) else [ends]
        own = self.tokenizer.eos_token_id
        return int(own if own in several else several[0])

    def begun(self, tokens: Tensor) -> Tensor:
        """The tokens behind the one that starts a caption."""
        return torch.cat([tokens.new_full((len(tokens), 1), self.start), tokens], 1)


class Blip(Speaker):
    """BLIP's captions: its decoder attends to what a ViT sees (Li et al. 2022, section 3.1)."""

    @property
    def start(self) -> int:
        return int(self.net.config.text_config.bos_token_id)

    @property
    def end(self) -> int:
        return int(self.net.config.text_config.sep_token_id)

    def seen(self, images: Tensor) -> Tensor:
        return _tensor(self.net.vision_model(pixel_values=images).last_hidden_state)

    def decode(self, pictures: Tensor, tokens: Tensor, **question: Tensor) -> Tensor:
        return self.said(tokens, pictures)

    def said(self, tokens: Tensor, by: Tensor, mask: Tensor | None = None) -> Tensor:
        """The scores of the words behind the start and each token, given ``by`` ``(B, N, features)``."""
        others = {"encoder_hidden_states": by, "encoder_attention_mask": mask, "use_cache": False}
        return _tensor(self.net.text_decoder(input_ids=self.begun(tokens), **others).logits)


class BlipAnswers(Blip):
    """BLIP's answers: the question attends to the picture, and the answer to that (Li et al. 2022, section 5.3)."""

    asks = True

    def decode(self, pictures: Tensor, tokens: Tensor, **question: Tensor) -> Tensor:
        asked = self.net.text_encoder(encoder_hidden_states=pictures, **question).last_hidden_state
        return self.said(tokens, asked, question["attention_mask"])


class Git(Speaker):
    """GIT's captions: one transformer over the picture's tokens, and behind them the words (Wang et al. 2022)."""

    def seen(self, images: Tensor) -> Tensor:
        return _tensor(self.net.git.visual_projection(self.net.git.image_encoder(images).last_hidden_state))

    def decode(self, pictures: Tensor, tokens: Tensor, **question: Tensor) -> Tensor:
        states = torch.cat([pictures, self.net.git.embeddings(self.begun(tokens))], 1)
        seen, count = pictures.shape[1], states.shape[1]
        # Words see the picture and those before them; the picture sees the picture alone.
        sees = torch.ones(count, count, dtype=torch.bool, device=states.device).tril()
        sees[:seen, :seen] = True
        mask = torch.zeros_like(sees, dtype=states.dtype).masked_fill(~sees, torch.finfo(states.dtype).min)
        read = self.net.git.encoder(states, attention_mask=mask[None, None]).last_hidden_state
        return _tensor(self.net.output(read[:, seen:]))


class VisionEncoderDecoder(Speaker):
    """Any encoder of pictures and any decoder of words that attends to it: a ViT and GPT-2."""

    @property
    def start(self) -> int:
        settings = self.net.generation_config
        begins = settings.decoder_start_token_id
        return int(settings.bos_token_id if begins is None else begins)

    def seen(self, images: Tensor) -> Tensor:
        return _tensor(self.net.encoder(pixel_values=images).last_hidden_state)

    def decode(self, pictures: Tensor, tokens: Tensor, **question: Tensor) -> Tensor:
        begun = self.begun(tokens)
        given = {"decoder_input_ids": begun, "decoder_attention_mask": torch.ones_like(begun)}
        return _tensor(self.net(encoder_outputs=(pictures,), **given, use_cache=False).logits)


class Llava(Speaker):
    """LLaVA and its kin: a language model that reads the picture's tokens inside of the prompt (Liu et al. 2023)."""

    asks = True
    prompt = PROMPT

    def seen(self, images: Tensor) -> Tensor:
        return torch.stack([*self.net.get_image_features(pixel_values=images, return_dict=True).pooler_output])

    def decode(self, pictures: Tensor, tokens: Tensor, **question: Tensor) -> Tensor:
        look, said = self.net.get_input_embeddings(), []
        asked = look(question["input_ids"])
        for row, (ids, mask) in enumerate(zip(question["input_ids"], question["attention_mask"], strict=True)):
            place, stop = int((ids == self.net.config.image_token_id).int().argmax()), int(mask.sum())
            said.append(torch.cat([asked[row, :place], pictures[row], asked[row, place + 1 : stop], look(tokens[row])]))
        # Shorter prompts are filled up in front, so that what follows them stands at one place.
        read = nn.utils.rnn.pad_sequence(said, batch_first=True, padding_side="left")
        lengths = torch.tensor([len(row) for row in said], device=read.device)
        place = torch.arange(read.shape[1], device=read.device) - (read.shape[1] - lengths)[:, None]
        states = self.net.model.language_model(
            inputs_embeds=read,
            attention_mask=(place >= 0).long(),
            position_ids=place.clamp(min=0),
            use_cache=False,
        ).last_hidden_state
        return _tensor(self.net.lm_head(states[:, -tokens.shape[1] - 1 :]))

    def questions(self, processor: Callable[[], Any]) -> Questions:
        asked = processor()
        if not getattr(asked, "chat_template", None):
            raise Error(f"{self.name} has no chat template, which says how it is asked: it cannot be explained.")
        return Questions(self.tokenizer, partial(self.read, asked), self.positions, self.name)

    def read(self, processor: Any, text: str) -> list[int]:
        """The tokens of what a user asks, as the chat template says it; one of them stands for the picture."""
        content = [{"type": "image"}, {"type": "text", "text": text}]
        turns = [{"role": "user", "content": content}]
        prompt = processor.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        starts = self.tokenizer.bos_token
        special = starts is None or not prompt.startswith(starts)
        numbers: list[int] = self.tokenizer(prompt, add_special_tokens=special)["input_ids"]
        if numbers.count(self.net.config.image_token_id) != 1:
            raise Error(f"the prompt of {self.name} must have one place for a picture: {prompt!r}.")
        return numbers


class Vilt(Adapter):
    """ViLT: one transformer over the question and the patches, which scores answers ``(B, answers)`` (Kim et al. 2021).

    transformers draws an order of the patches for every pass; here they lie in that of the picture, all of them.
    """

    asks = True

    def forward(self, images: Tensor, **question: Tensor) -> Tensor:
        patches, mask = self.patches(images)
        return _tensor(self.net(image_embeds=patches, pixel_mask=mask, **question).logits)

    def patches(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """A class token and the patches in the order of the picture, ``(B, 1 + h w, K)``, and their mask."""
        every = torch.ones(len(images), *images.shape[2:], device=images.device)
        with torch.random.fork_rng(devices=[]):  # the order is drawn from the generator that is the user's own
            drawn, mask, (places, (_, width)) = self.net.vilt.embeddings.visual_embed(images, every, -1)
        order = (places[..., 0] * width + places[..., 1]).argsort(1)
        there = torch.arange(len(drawn), device=order.device)[:, None]
        return torch.cat([drawn[:, :1], drawn[:, 1:][there, order]], 1), mask


ADAPTERS: dict[str, type[Adapter]] = {
    "BlipForConditionalGeneration": Blip,
    "BlipForQuestionAnswering": BlipAnswers,
    "GitForCausalLM": Git,
    "LlavaForConditionalGeneration": Llava,
    "ViltForQuestionAnswering": Vilt,
    "VisionEncoderDecoderModel": VisionEncoderDecoder,
}


def _tensor(found: Any) -> Tensor:
    assert isinstance(found, Tensor)
    return found

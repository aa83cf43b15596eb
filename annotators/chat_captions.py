"""Captions by any vision-language server that speaks the OpenAI chat API with images.

The server gets the picture as JPEG, at most `side` pixels on its longer side, and one instruction
for all pictures. Its answer becomes one line. With `each` above 1 the requests of an image differ
by their seed, drawn from the image's id, so that a rerun asks for the same and finds it in the
cache.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field

from annotators.captions import OK, Written
from annotators.chat import Chat, ChatConfig, Reply, ask, picture
from pipelines.records import uniform

INSTRUCTION = (
    "Write one short caption for this picture: what it shows, in a few words, as a person would "
    "write it beside the picture. Answer with the caption alone."
)
QUALITY = 90


@dataclass(frozen=True)
class ChatCaptioning:
    """What a server is asked for."""

    chat: ChatConfig = field(default_factory=ChatConfig)
    """The server."""
    instruction: str = INSTRUCTION
    """Before the picture."""
    side: int = 512
    """Longer side of the picture that is sent, at most, pixels."""
    each: int = 1
    """Captions an image."""
    most_characters: int = 400
    """Of a caption; more counts as not_a_caption."""


@dataclass(frozen=True)
class ShrinkToJPEG:
    """An encoded image to a JPEG of at most `side` pixels on its longer side."""

    side: int

    def __call__(self, image: bytes) -> bytes:
        """Raises what Pillow raises for what it cannot read. Transparency is laid on white."""
        from PIL import Image, ImageOps

        with Image.open(io.BytesIO(image)) as opened:
            shown = ImageOps.exif_transpose(opened).convert("RGBA")
        flat = Image.new("RGB", shown.size, "white")
        flat.paste(shown, mask=shown.getchannel("A"))
        flat.thumbnail((self.side, self.side))
        out = io.BytesIO()
        flat.save(out, "JPEG", quality=QUALITY)
        return out.getvalue()


class ChatCaptioner:
    """Asks the server; what it could not answer is the image's status."""

    def __init__(self, config: ChatCaptioning) -> None:
        self.config, self.chat = config, Chat(config.chat)
        self.prepare = ShrinkToJPEG(config.side)

    def captions(self, images: Sequence[bytes], keys: Sequence[str]) -> list[Written]:
        """`each` captions of every image."""
        each = self.config.each
        requests = [ask(self.config.instruction, picture(i, "image/jpeg")) for i in images]
        found: list[list[Reply]] = [[] for _ in images]
        for number in range(each):
            extras = [{"seed": int(uniform(number, key) * 2**31)} for key in keys]
            replies = self.chat.answers(requests, extras if each > 1 else None)
            for of_image, reply in zip(found, replies, strict=True):
                of_image.append(reply)
        return [self._written(replies) for replies in found]

    def _written(self, replies: Sequence[Reply]) -> Written:
        texts = [_line(reply.text) for reply in replies if reply.status == OK]
        good = tuple(dict.fromkeys(t for t in texts if 0 < len(t) <= self.config.most_characters))
        if good:
            return Written(good)
        failed = next((reply for reply in replies if reply.status != OK), None)
        if failed is not None:
            return Written(status=failed.status, detail=failed.detail)
        return Written(status="not_a_caption", detail=texts[0][:200] if texts else "")


def _line(text: str) -> str:
    """One line without quotation marks around it."""
    line = " ".join(text.split())
    quoted = len(line) > 1 and line[0] == line[-1] and line[0] in "\"'"
    return line[1:-1].strip() if quoted else line

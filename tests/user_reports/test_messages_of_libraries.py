"""What a library says of a broken file names bytes in memory; the user knows the file's name."""

from __future__ import annotations

from typing import NoReturn

import pytest
from PIL import Image

from trainables.data.decode import decode_image

NO_IMAGES = {
    "a page": (b"<html>not found</html>", "it is no image, or none in a format that is read here; save it as JPEG"),
    "a phone's": (b"\0\0\0\x18ftypheic\0\0\0\0", "it is a HEIC or AVIF photograph; export it as JPEG"),
    "cut short": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "damaged|no image"),
}


@pytest.mark.parametrize("case", NO_IMAGES)
def test_a_file_that_is_no_image(case: str) -> None:
    data, message = NO_IMAGES[case]
    with pytest.raises(ValueError, match=rf"^photo\.jpg cannot be decoded: .*({message})") as error:
        decode_image(data, "photo.jpg")
    assert "BytesIO" not in str(error.value) and "0x" not in str(error.value)


def test_a_value_error_of_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    def complain(*_: object, **__: object) -> NoReturn:
        raise ValueError("buffer is not large enough")

    monkeypatch.setattr(Image, "open", complain)
    with pytest.raises(ValueError, match=r"^photo\.jpg cannot be decoded: buffer is not large enough; it is damaged"):
        decode_image(b"pixels", "photo.jpg")

"""Describes images with a TFLite file; needs only ai-edge-litert, NumPy and Pillow.

    python describe_with_litert.py captions-float32.tflite photo.jpg

`python -m visem_tf.export --format tflite` writes the file, which contains the vocabulary.
"""

import sys
import zipfile

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image, ImageOps

END = 2  # ids 0 to 3 are <pad>, <start>, <end>, <unk>


def read_image(path: str) -> np.ndarray:
    """Reads an image, upright and on white: RGB float32 [1, height, width, 3] in 0..255."""
    with Image.open(path) as image:
        image = ImageOps.exif_transpose(image)
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        return np.asarray(image.convert("RGB"), np.float32)[np.newaxis]


def as_text(token_ids: np.ndarray, words: list[str]) -> str:
    """Returns the words before the first END."""
    ids = token_ids.tolist()
    ids = ids[: ids.index(END)] if END in ids else ids
    return " ".join(words[token] for token in ids if token > END)


def main(model: str, *paths: str) -> None:
    """Prints a caption of each image and of its regions."""
    interpreter = Interpreter(model_path=model)
    signatures = interpreter.get_signature_list()
    run = {name: interpreter.get_signature_runner(name) for name in signatures}
    with zipfile.ZipFile(model) as packed:
        words = packed.read("vocabulary.txt").decode().removesuffix("\n").split("\n")
    for path in paths:
        square = run["prepare"](image=read_image(path))["image"]
        regions = run["encode_image"](image=square)
        features, mask = regions["region_features"], regions["region_mask"]
        if "image_features" in signatures["beam"]["inputs"]:  # the whole frame, which is region 0
            best = run["beam"](image_features=features[:, 0])
        else:
            best = run["beam"](region_features=features, region_mask=mask)
        print(f"{path}: {as_text(best['token_ids'][0, 0], words)}")
        if "describe_regions" in run:
            captions = run["describe_regions"](region_features=features[0])["token_ids"]
            for box, token_ids in zip(regions["boxes"][0][mask[0]], captions[mask[0]], strict=True):
                print("   ", *(f"{edge:.2f}" for edge in box), as_text(token_ids, words))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Image operations of the preprocessing graph: decode, resize, equalise, encode.

The same functions run inside Transform, training, the SavedModel and (but for decode and
encode) TensorFlow Lite, so that no path can drift from another.
"""

from models.clahe import clahe
from models.decoding import decode, encode
from models.resizing import METHODS, Method, resize

__all__ = ["METHODS", "Method", "clahe", "decode", "encode", "resize"]

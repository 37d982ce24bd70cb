"""The curated schema of the raw tf.Examples."""

from pathlib import Path
from typing import Final

SCHEMA_FILE: Final = str(Path(__file__).with_name("schema.pbtxt"))
"""What `components.schema_gen` emits. Label domain and class names follow
`models.features.CLASSES`; environments are TRAINING and SERVING (unlabelled)."""

SERVING_ENVIRONMENT: Final = "SERVING"

"""The configuration of a run: its sections, its presets, and the registry of named choices."""

from visem_tf.config.models import AlignConfig, GenerateConfig, InferConfig, JointConfig
from visem_tf.config.recorded import differences, read_fields
from visem_tf.config.sections import (
    STAGES,
    ComputeConfig,
    Config,
    DataConfig,
    DistributeConfig,
    EvaluateConfig,
    RegionsConfig,
    ReportConfig,
    TextConfig,
)

__all__ = [
    "STAGES",
    "AlignConfig",
    "ComputeConfig",
    "Config",
    "DataConfig",
    "DistributeConfig",
    "EvaluateConfig",
    "GenerateConfig",
    "InferConfig",
    "JointConfig",
    "RegionsConfig",
    "ReportConfig",
    "TextConfig",
    "differences",
    "read_fields",
]

"""The configuration of a run: its sections, presets, and the choices that options have by name."""

from visem_tf.config.models import AlignConfig, GenerateConfig, InferConfig, JointConfig
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
    differences,
    read_fields,
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

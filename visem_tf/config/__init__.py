"""The configuration of a run: its sections, its presets, and the registry of named choices."""

from visem_tf.config.inference import InferConfig as InferConfig
from visem_tf.config.models import AlignConfig as AlignConfig
from visem_tf.config.models import GenerateConfig as GenerateConfig
from visem_tf.config.models import JointConfig as JointConfig
from visem_tf.config.models import ProposeConfig as ProposeConfig
from visem_tf.config.models import TrainingConfig as TrainingConfig
from visem_tf.config.recorded import differences as differences
from visem_tf.config.recorded import read_fields as read_fields
from visem_tf.config.run_config import STAGES as STAGES
from visem_tf.config.run_config import Config as Config
from visem_tf.config.sections import ComputeConfig as ComputeConfig
from visem_tf.config.sections import DataConfig as DataConfig
from visem_tf.config.sections import DistributeConfig as DistributeConfig
from visem_tf.config.sections import EvaluateConfig as EvaluateConfig
from visem_tf.config.sections import RegionsConfig as RegionsConfig
from visem_tf.config.sections import ReportConfig as ReportConfig
from visem_tf.config.sections import TextConfig as TextConfig

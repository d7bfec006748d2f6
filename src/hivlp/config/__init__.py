"""Typed configuration of models and training runs.

A configuration is frozen. An unknown key or a value out of range is a ConfigError that names the key, the
rule and the nearest name that exists.
"""

from __future__ import annotations

from hivlp.config.fit_levels import FitLevelsConfig as FitLevelsConfig
from hivlp.config.model import CONFIG_FILE as CONFIG_FILE
from hivlp.config.model import MATCH_FILE as MATCH_FILE
from hivlp.config.model import SCHEMA_VERSION as SCHEMA_VERSION
from hivlp.config.model import TOKENIZER_FILE as TOKENIZER_FILE
from hivlp.config.model import WEIGHTS_FILE as WEIGHTS_FILE
from hivlp.config.model import Fusion as Fusion
from hivlp.config.model import ImageTowerConfig as ImageTowerConfig
from hivlp.config.model import Levels as Levels
from hivlp.config.model import ModelConfig as ModelConfig
from hivlp.config.model import Preprocessing as Preprocessing
from hivlp.config.model import TextTowerConfig as TextTowerConfig
from hivlp.config.model import TowerConfig as TowerConfig
from hivlp.config.model import read_model_config as read_model_config
from hivlp.config.objective import BinaryObjective as BinaryObjective
from hivlp.config.objective import Distillation as Distillation
from hivlp.config.objective import MaskedObjective as MaskedObjective
from hivlp.config.objective import MatchingObjective as MatchingObjective
from hivlp.config.objective import Objective as Objective
from hivlp.config.objective import RerankerDistillation as RerankerDistillation
from hivlp.config.parsing import ConfigT as ConfigT
from hivlp.config.parsing import Settings as Settings
from hivlp.config.parsing import apply_overrides as apply_overrides
from hivlp.config.parsing import parse as parse
from hivlp.config.parsing import without_removed as without_removed
from hivlp.config.training import Augmentation as Augmentation
from hivlp.config.training import EarlyStopping as EarlyStopping
from hivlp.config.training import Lora as Lora
from hivlp.config.training import Optimisation as Optimisation
from hivlp.config.training import Phase as Phase
from hivlp.config.training import Pretrained as Pretrained
from hivlp.config.training import SourceConfig as SourceConfig
from hivlp.config.training import TrainConfig as TrainConfig
from hivlp.config.training import ValidationSource as ValidationSource

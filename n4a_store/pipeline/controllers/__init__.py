"""The controllers, one a kind of step; the first that claims a bare object gets it."""

from n4a_store.pipeline.controllers.base import Controller
from n4a_store.pipeline.controllers.branch import BranchController
from n4a_store.pipeline.controllers.model import ModelController
from n4a_store.pipeline.controllers.splitter import SplitterController
from n4a_store.pipeline.controllers.stacking import StackingController
from n4a_store.pipeline.controllers.transform import TransformController
from n4a_store.pipeline.controllers.y_processing import YProcessingController

__all__ = ["CONTROLLERS", "Controller"]

CONTROLLERS: tuple[Controller, ...] = (
    ModelController(),  # before transforms: PLS can do both, and is a model
    TransformController(),
    SplitterController(),
    YProcessingController(),
    BranchController(),
    StackingController(),
)

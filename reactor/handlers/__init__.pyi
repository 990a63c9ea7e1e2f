from handlers import *
from handlers import State as State
from handlers import Step as Step
from handlers import __all__ as __all__

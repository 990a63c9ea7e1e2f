from handlers.machines import *

from handlers.world import *

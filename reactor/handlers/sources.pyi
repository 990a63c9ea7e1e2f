from handlers.sources import *

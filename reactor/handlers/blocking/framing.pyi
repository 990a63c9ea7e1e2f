from handlers.blocking.framing import *
